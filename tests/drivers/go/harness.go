package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const timeout = 40 * time.Second

var (
	items        = readItems()
	isDirect     = os.Getenv("WAY") == "directly"
	hasOneServer = os.Getenv("WAY") == "one server"

	// Where tenants share a database, LISTEN is refused unless it is configured, as it is for few servers.
	mayListen = !hasOneServer || os.Getenv("TENANT") == "initech"
)

func readItems() (items []string) {
	must(json.Unmarshal([]byte(os.Getenv("ITEMS")), &items))
	slices.Sort(items)
	return items
}

// failed is what ends a check: see must, expect and code.
type failed string

func fail(format string, arguments ...any) {
	_, file, line, _ := runtime.Caller(2)
	panic(failed(fmt.Sprintf("%s:%d: ", file, line) + fmt.Sprintf(format, arguments...)))
}

func must(err error) {
	if err != nil {
		fail("%v", err)
	}
}

func got[T any](value T, err error) T {
	if err != nil {
		fail("%v", err)
	}
	return value
}

func expect(actual, expected any) {
	if !reflect.DeepEqual(actual, expected) {
		fail("got %#v, expected %#v", actual, expected)
	}
}

// code is the error's report by PostgreSQL; it must have this SQLSTATE.
func code(err error, sqlstate string) *pgconn.PgError {
	var report *pgconn.PgError
	if !errors.As(err, &report) || report.Code != sqlstate {
		fail("got %v, expected %s", err, sqlstate)
	}
	return report
}

// check runs a check and prints a line of JSON for it. One that hangs is the last: what it holds would be in the way.
func check(name string, body func()) {
	problem := make(chan string)
	go func() {
		defer func() {
			switch found := recover().(type) {
			case nil:
				problem <- ""
			case failed:
				problem <- string(found)
			default:
				panic(found)
			}
		}()
		body()
	}()
	select {
	case text := <-problem:
		report(name, text)
	case <-time.After(timeout):
		report(name, fmt.Sprintf("not finished after %v", timeout))
		os.Exit(1)
	}
}

func report(name, problem string) {
	line := struct {
		Check  string `json:"check"`
		OK     bool   `json:"ok"`
		Detail string `json:"detail"`
	}{name, problem == "", problem}
	must(json.NewEncoder(os.Stdout).Encode(line))
}
