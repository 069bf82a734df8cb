// Checks pgx: its connections and pool, all of its query modes, batches, pipelines, COPY, listeners and database/sql.
package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

var background = context.Background()

var modes = []pgx.QueryExecMode{
	pgx.QueryExecModeCacheStatement,
	pgx.QueryExecModeCacheDescribe,
	pgx.QueryExecModeDescribeExec,
	pgx.QueryExecModeExec,
	pgx.QueryExecModeSimpleProtocol,
}

type querier interface {
	Query(ctx context.Context, text string, arguments ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, text string, arguments ...any) pgx.Row
}

func connectWith(change func(*pgx.ConnConfig)) *pgx.Conn {
	config := got(pgx.ParseConfig(""))
	change(config)
	return got(pgx.ConnectConfig(background, config))
}

func with(body func(*pgx.Conn)) {
	withConfig(func(*pgx.ConnConfig) {}, body)
}

func withConfig(change func(*pgx.ConnConfig), body func(*pgx.Conn)) {
	connection := connectWith(change)
	defer connection.Close(background)
	body(connection)
}

// moving calls `body` with a function that makes other connections' next transactions run on another server.
func moving(body func(move func())) {
	with(func(other *pgx.Conn) {
		holds := false
		body(func() {
			if hasOneServer {
				return
			}
			word := "BEGIN; SELECT 1"
			if holds {
				word = "ROLLBACK"
			}
			must(exec(other, word))
			holds = !holds
		})
	})
}

func exec(connection *pgx.Conn, text string, arguments ...any) error {
	_, err := connection.Exec(background, text, arguments...)
	return err
}

func value[T any](connection querier, text string, arguments ...any) T {
	var value T
	if err := connection.QueryRow(background, text, arguments...).Scan(&value); err != nil {
		fail("%s: %v", text, err)
	}
	return value
}

func seen(connection querier) []string {
	rows, err := connection.Query(background, "SELECT item FROM orders WHERE amount > $1", 0)
	must(err)
	found := got(pgx.CollectRows(rows, pgx.RowTo[string]))
	slices.Sort(found)
	return found
}

func main() {
	check("every query mode sees the tenant on every server", func() {
		for _, mode := range modes {
			moving(func(move func()) {
				withConfig(func(config *pgx.ConnConfig) { config.DefaultQueryExecMode = mode }, func(connection *pgx.Conn) {
					for number := range 4 {
						expect(seen(connection), items)
						expect(value[int](connection, "SELECT $1::int + 1", number), number+1)
						_, err := connection.Exec(background, "SELECT 1 / $1::int", 0)
						code(err, "22012")
						move()
					}
				})
			})
		}
	})

	check("a string of several statements gives a result for each", func() {
		with(func(connection *pgx.Conn) {
			results := got(connection.PgConn().Exec(background, "SELECT 1; SELECT count(*) FROM orders; SELECT 3").ReadAll())
			expect(len(results), 3)
			expect(string(results[1].Rows[0][0]), fmt.Sprint(len(items)))
			expect(results[2].CommandTag.String(), "SELECT 1")
		})
	})

	check("types come back as they were sent, in binary", func() {
		with(func(connection *pgx.Conn) {
			exact := pgtype.Numeric{Int: big.NewInt(12345678901234567), Exp: -5, Valid: true}
			at := time.Date(2024, 2, 29, 12, 34, 56, 789000000, time.UTC)
			id := [16]byte{15, 143, 173, 91, 217, 203, 70, 159, 161, 101, 112, 134, 119, 40, 149, 14}
			document := map[string]any{"a": []any{1.0, "ü"}}
			list := []int32{1, -2, 3}
			words := []string{`a "b"`, `c\d'`, ""}
			raw := []byte{0, 1, 92, 39, 255}
			var gotBig int64
			var gotExact pgtype.Numeric
			var gotRaw []byte
			var gotDocument map[string]any
			var gotList []int32
			var gotAt time.Time
			var gotID [16]byte
			var gotWords []string
			var nothing *string
			row := connection.QueryRow(background,
				`SELECT $1::int8, $2::numeric, $3::bytea, $4::jsonb, $5::int[], $6::timestamptz, $7::uuid, $8::text[], $9::text`,
				int64(9223372036854775807), exact, raw, document, list, at, id, words, nil)
			must(row.Scan(&gotBig, &gotExact, &gotRaw, &gotDocument, &gotList, &gotAt, &gotID, &gotWords, &nothing))
			expect(gotBig, int64(9223372036854775807))
			expect(gotExact, exact)
			expect(gotRaw, raw)
			expect(gotDocument, document)
			expect(gotList, list)
			expect(gotAt.UTC(), at)
			expect(gotID, id)
			expect(gotWords, words)
			expect(nothing, (*string)(nil))
		})
	})

	check("the tenant's own types are looked up", func() {
		moving(func(move func()) {
			with(func(connection *pgx.Conn) {
				types := got(connection.LoadTypes(background, []string{"mood", "_mood", "place"}))
				connection.TypeMap().RegisterTypes(types)
				move()
				type place struct {
					Street string
					No     int32
				}
				elm := place{"Elm St", 13}
				var moods []string
				var found place
				row := connection.QueryRow(background, "SELECT $1::mood[], $2::place", []string{"sad", "happy"}, elm)
				must(row.Scan(&moods, &found))
				expect(moods, []string{"sad", "happy"})
				expect(found, elm)
			})
		})
	})

	check("named statements are reused in and out of transactions", func() {
		moving(func(move func()) {
			with(func(connection *pgx.Conn) {
				described := got(connection.Prepare(background, "expensive", "SELECT count(*) FROM orders WHERE amount > $1"))
				expect(described.ParamOIDs, []uint32{pgtype.NumericOID})
				for range 4 {
					expect(value[int](connection, "expensive", 0), len(items))
					transaction := got(connection.Begin(background))
					expect(value[int](transaction, "expensive", 1000000000), 0)
					must(transaction.Rollback(background))
					move()
				}
				must(connection.Deallocate(background, "expensive"))
				got(connection.Prepare(background, "expensive", "SELECT 7::int"))
				expect(value[int](connection, "expensive"), 7)
			})
		})
	})

	check("more statements than a server keeps", func() {
		moving(func(move func()) {
			withConfig(func(config *pgx.ConnConfig) { config.StatementCacheCapacity = 45 }, func(connection *pgx.Conn) {
				for round := range 3 {
					for number := range 60 { // past pgx's own cache too, which closes statements
						expect(value[int](connection, fmt.Sprintf("SELECT $1::int + %d", number), round), round+number)
					}
					move()
				}
			})
		})
	})

	check("statements outlive DISCARD where they do in PostgreSQL", func() {
		with(func(connection *pgx.Conn) {
			text := "SELECT count(*) FROM orders WHERE amount > $1"
			for _, what := range []string{"PLANS", "SEQUENCES", "TEMP"} {
				expect(value[int](connection, text, 0), len(items))
				must(exec(connection, "DISCARD "+what))
			}
			expect(value[int](connection, text, 0), len(items))
			must(exec(connection, "DISCARD ALL"))
			var count int
			code(connection.QueryRow(background, text, 0).Scan(&count), "26000")
			must(connection.DeallocateAll(background))
			expect(value[int](connection, text, 0), len(items))
		})
	})

	check("transactions, savepoints and errors inside", func() {
		moving(func(move func()) {
			with(func(connection *pgx.Conn) {
				must(exec(connection, "DELETE FROM notes"))
				err := pgx.BeginFunc(background, connection, func(outer pgx.Tx) error {
					got(outer.Exec(background, "INSERT INTO notes (id) VALUES ($1)", 1))
					inner := pgx.BeginFunc(background, outer, func(savepoint pgx.Tx) error {
						got(savepoint.Exec(background, "INSERT INTO notes (id) VALUES ($1)", 2))
						_, err := savepoint.Exec(background, "SELECT 1 / $1::int", 0)
						return err
					})
					code(inner, "22012")
					return pgx.BeginFunc(background, outer, func(savepoint pgx.Tx) error {
						_, err := savepoint.Exec(background, "INSERT INTO notes (id) VALUES ($1)", 3)
						return err
					})
				})
				must(err)
				move()
				ids := func() []int32 { return value[[]int32](connection, "SELECT array_agg(id ORDER BY id) FROM notes") }
				expect(ids(), []int32{1, 3})
				transaction := got(connection.Begin(background))
				got(transaction.Exec(background, "DELETE FROM notes"))
				_, err = transaction.Exec(background, "SELECT nope")
				code(err, "42703")
				_, err = transaction.Exec(background, "SELECT 1")
				code(err, "25P02")
				if err := transaction.Commit(background); !errors.Is(err, pgx.ErrTxCommitRollback) {
					fail("got %v", err)
				}
				move()
				expect(ids(), []int32{1, 3})
				must(exec(connection, "DELETE FROM notes"))
			})
		})
	})

	check("isolation levels", func() {
		with(func(connection *pgx.Conn) {
			for _, level := range []pgx.TxIsoLevel{pgx.ReadUncommitted, pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
				transaction := got(connection.BeginTx(background, pgx.TxOptions{IsoLevel: level}))
				expect(value[string](transaction, "SHOW transaction_isolation"), string(level))
				expect(seen(transaction), items)
				must(transaction.Commit(background))
			}
			options := pgx.TxOptions{IsoLevel: pgx.Serializable, AccessMode: pgx.ReadOnly, DeferrableMode: pgx.Deferrable}
			transaction := got(connection.BeginTx(background, options))
			expect(seen(transaction), items)
			_, err := transaction.Exec(background, "INSERT INTO notes (id) VALUES (1)")
			code(err, "25006")
			must(transaction.Rollback(background))
		})
	})

	check("twenty connections of a pool share few servers", func() {
		config := got(pgxpool.ParseConfig(""))
		config.MaxConns = 20
		pool := got(pgxpool.NewWithConfig(background, config))
		defer pool.Close()
		var all sync.WaitGroup
		problems := make([]any, 20)
		for number := range problems {
			all.Go(func() {
				defer func() { problems[number] = recover() }()
				connection := got(pool.Acquire(background))
				defer connection.Release()
				memory := fmt.Sprintf("%dMB", number+1)
				got(connection.Exec(background, "SET work_mem TO '"+memory+"'"))
				for range 4 {
					expect(value[string](connection, "SHOW work_mem"), memory)
					expect(seen(connection), items)
					transaction := got(connection.Begin(background))
					got(transaction.Exec(background, "INSERT INTO notes (id, body) VALUES ($1, $2)", number, "x"))
					expect(value[int](transaction, "SELECT count(*) FROM notes WHERE id = $1", number), 1)
					must(transaction.Rollback(background))
				}
				got(connection.Exec(background, "RESET work_mem"))
			})
		}
		all.Wait()
		expect(problems, make([]any, 20))
		expect(value[int](pool, "SELECT count(*) FROM notes"), 0)
	})

	check("batches", func() {
		moving(func(move func()) {
			for _, mode := range modes {
				withConfig(func(config *pgx.ConnConfig) { config.DefaultQueryExecMode = mode }, func(connection *pgx.Conn) {
					batch := &pgx.Batch{}
					sum := 0
					for number := range 30 {
						batch.Queue("INSERT INTO notes (id) VALUES ($1)", number)
						batch.Queue(fmt.Sprintf("SELECT count(*) + %d FROM orders", number%10)).QueryRow(func(row pgx.Row) error {
							var count int
							err := row.Scan(&count)
							sum += count
							return err
						})
					}
					must(connection.SendBatch(background, batch).Close())
					expect(sum, 30*len(items)+3*45)
					expect(value[int](connection, "SELECT count(*) FROM notes"), 30)
					move()

					failing := &pgx.Batch{}
					failing.Queue("DELETE FROM notes")
					failing.Queue("SELECT 1 / $1::int", 0)
					failing.Queue("SELECT 1")
					code(connection.SendBatch(background, failing).Close(), "22012")
					expect(value[int](connection, "SELECT count(*) FROM notes"), 30)
					must(exec(connection, "DELETE FROM notes"))
				})
			}
		})
	})

	check("pipelines with several Syncs", func() {
		with(func(connection *pgx.Conn) {
			pipeline := connection.PgConn().StartPipeline(background)
			pipeline.SendPrepare("counting", "SELECT count(*) FROM orders WHERE amount > $1", nil)
			pipeline.SendQueryPrepared("counting", [][]byte{[]byte("0")}, nil, nil)
			must(pipeline.Sync())
			pipeline.SendQueryParams("SELECT 1 / $1::int", [][]byte{[]byte("0")}, nil, nil, nil)
			pipeline.SendQueryParams("SELECT 1", nil, nil, nil, nil)
			must(pipeline.Sync())
			pipeline.SendQueryPrepared("counting", [][]byte{[]byte("0")}, nil, nil)
			pipeline.SendDeallocate("counting")
			must(pipeline.Sync())
			results := []string{}
			for {
				result, err := pipeline.GetResults()
				if err != nil {
					results = append(results, code(err, "22012").Code)
					continue
				}
				if result == nil {
					break
				}
				switch result := result.(type) {
				case *pgconn.StatementDescription:
					results = append(results, "described")
				case *pgconn.ResultReader:
					results = append(results, string(result.Read().Rows[0][0]))
				case *pgconn.PipelineSync:
					results = append(results, "sync")
				case *pgconn.CloseComplete:
					results = append(results, "closed")
				}
			}
			must(pipeline.Close())
			count := fmt.Sprint(len(items))
			expect(results, []string{"described", count, "sync", "22012", "sync", count, "closed", "sync"})
			expect(seen(connection), items)
		})
	})

	check("rows may be left early", func() {
		with(func(connection *pgx.Conn) {
			text := "SELECT n, (SELECT count(*) FROM orders) FROM generate_series(1, $1::int) n"
			for range 3 {
				rows := got(connection.Query(background, text, 5000))
				for range 3 {
					rows.Next()
				}
				rows.Close()
				must(rows.Err())
				expect(seen(connection), items)
			}
			rows := got(connection.Query(background, "SELECT 10 / ($1 - n) FROM generate_series(1, 10) n", 5))
			for rows.Next() {
			}
			code(rows.Err(), "22012")
			expect(seen(connection), items)
		})
	})

	check("cursors of SQL", func() {
		with(func(connection *pgx.Conn) {
			transaction := got(connection.Begin(background))
			got(transaction.Exec(background, "DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 250) n"))
			read := 0
			for {
				rows, err := transaction.Query(background, "FETCH 100 FROM c")
				must(err)
				some := len(got(pgx.CollectRows(rows, pgx.RowTo[int])))
				if some == 0 {
					break
				}
				read += some
			}
			expect(read, 250)
			expect(seen(transaction), items)
			must(transaction.Commit(background))
		})
	})

	check("COPY in and out", func() {
		moving(func(move func()) {
			with(func(connection *pgx.Conn) {
				must(exec(connection, "DELETE FROM loads"))
				columns := []string{"id", "body"}
				source := pgx.CopyFromSlice(5000, func(number int) ([]any, error) {
					return []any{number, fmt.Sprintf("line %d", number)}, nil
				})
				expect(got(connection.CopyFrom(background, pgx.Identifier{"loads"}, columns, source)), int64(5000))
				move()
				var out bytes.Buffer
				must(noTag(connection.PgConn().CopyTo(background, &out, "COPY (SELECT id, body FROM loads ORDER BY id) TO STDOUT")))
				expect(strings.Count(out.String(), "\n"), 5000)
				expect(strings.HasSuffix(out.String(), "4999\tline 4999\n"), true)
				move()
				again := "COPY loads (id, body) FROM STDIN"
				expect(got(connection.PgConn().CopyFrom(background, &out, again)).RowsAffected(), int64(5000))
				code(noTag(connection.PgConn().CopyFrom(background, strings.NewReader("x\ty\n"), again)), "22P02")
				torn := io.MultiReader(strings.NewReader("1\tone\n"), tornReader{})
				code(noTag(connection.PgConn().CopyFrom(background, torn, again)), "57014")
				expect(value[int](connection, "SELECT count(*) FROM loads"), 10000)
				must(exec(connection, "DELETE FROM loads"))
			})
		})
	})

	check("settings last for the connection alone", func() {
		change := func(config *pgx.ConnConfig) {
			config.RuntimeParams["application_name"] = "shop"
			config.RuntimeParams["TimeZone"] = "Asia/Tokyo"
			config.RuntimeParams["options"] += " -c work_mem=5MB"
		}
		moving(func(move func()) {
			withConfig(change, func(connection *pgx.Conn) {
				for range 3 {
					expect(value[string](connection, "SHOW TimeZone"), "Asia/Tokyo")
					expect(value[string](connection, "SHOW application_name"), "shop")
					expect(value[string](connection, "SHOW work_mem"), "5MB")
					move()
				}
				must(exec(connection, "SET TimeZone TO 'UTC'"))
				expect(connection.PgConn().ParameterStatus("TimeZone"), "UTC")
				transaction := got(connection.Begin(background))
				got(transaction.Exec(background, "SET work_mem TO '6MB'"))
				must(transaction.Rollback(background))
				move()
				expect(value[string](connection, "SHOW TimeZone"), "UTC")
				expect(value[string](connection, "SHOW work_mem"), "5MB")
				with(func(other *pgx.Conn) { expect(value[string](other, "SHOW work_mem"), "4MB") })
			})
		})
	})

	check("a listener hears notifications", func() {
		moving(func(move func()) {
			with(func(connection *pgx.Conn) {
				channel := "pgx_" + os.Getenv("TENANT")
				if !mayListen {
					code(exec(connection, "LISTEN "+channel), "0A000")
					return
				}
				must(exec(connection, "LISTEN "+channel))
				server := value[int](connection, "SELECT pg_backend_pid()")
				move()
				expect(value[int](connection, "SELECT pg_backend_pid()"), server)
				move() // gives back what it held: two listeners and their senders have three servers
				notify := func(sender *pgx.Conn) { must(exec(sender, "SELECT pg_notify($1, $2)", channel, "gong")) }
				if hasOneServer {
					notify(connection)
				} else {
					with(notify)
				}
				heard := got(connection.WaitForNotification(background))
				expect([]string{heard.Channel, heard.Payload}, []string{channel, "gong"})
				must(exec(connection, "UNLISTEN "+channel))
			})
		})
	})

	check("temporary tables stay with their connection", func() {
		moving(func(move func()) {
			with(func(connection *pgx.Conn) {
				must(exec(connection, "CREATE TEMP TABLE mine AS SELECT 42 AS n"))
				move()
				expect(value[int](connection, "SELECT n FROM mine"), 42)
				must(exec(connection, "DROP TABLE mine"))
			})
		})
	})

	check("notices arrive", func() {
		heard := []string{}
		change := func(config *pgx.ConnConfig) {
			config.OnNotice = func(_ *pgconn.PgConn, notice *pgconn.Notice) { heard = append(heard, notice.Message, notice.Hint) }
		}
		withConfig(change, func(connection *pgx.Conn) {
			must(exec(connection, "DO $$ BEGIN RAISE WARNING 'careful' USING HINT = 'look'; END $$"))
		})
		expect(heard, []string{"careful", "look"})
	})

	check("a context that ends cancels the statement", func() {
		change := func(config *pgx.ConnConfig) {
			config.BuildContextWatcherHandler = func(connection *pgconn.PgConn) ctxwatch.Handler {
				return &pgconn.CancelRequestContextWatcherHandler{
					Conn:               connection,
					CancelRequestDelay: 50 * time.Millisecond,
					DeadlineDelay:      8 * time.Second,
				}
			}
		}
		withConfig(change, func(connection *pgx.Conn) {
			for range 2 {
				if hasOneServer {
					break // it asks once, and while a statement is on its way to the server PostgreSQL ignores that
				}
				ending, cancel := context.WithTimeout(background, 100*time.Millisecond)
				_, err := connection.Exec(ending, "SELECT pg_sleep($1)", 20)
				cancel()
				code(err, "57014")
				expect(connection.IsClosed(), false)
				expect(seen(connection), items)
			}
		})
		with(func(connection *pgx.Conn) { // pgx's default: the connection is given up
			ending, cancel := context.WithTimeout(background, 100*time.Millisecond)
			defer cancel()
			err := noTag(connection.Exec(ending, "SELECT pg_sleep($1)", 20))
			expect(errors.Is(err, context.DeadlineExceeded), true)
			expect(connection.IsClosed(), true)
		})
		with(func(connection *pgx.Conn) { expect(seen(connection), items) })
	})

	check("cancel requests stop a statement", func() {
		with(func(connection *pgx.Conn) {
			ended := make(chan error)
			go func() { ended <- exec(connection, "SELECT pg_sleep(20)") }()
			for {
				select {
				case err := <-ended:
					code(err, "57014")
					expect(seen(connection), items)
					return
				case <-time.After(150 * time.Millisecond):
					must(connection.PgConn().CancelRequest(background))
				}
			}
		})
	})

	check("timeouts given at connecting", func() {
		change := func(config *pgx.ConnConfig) {
			config.RuntimeParams["statement_timeout"] = "1000"
			config.RuntimeParams["lock_timeout"] = "3s"
		}
		withConfig(change, func(connection *pgx.Conn) {
			expect(strings.Contains(code(exec(connection, "SELECT pg_sleep($1)", 20), "57014").Message, "statement timeout"), true)
			expect(value[string](connection, "SHOW lock_timeout"), "3s")
			expect(seen(connection), items)
		})
	})

	check("a pool replaces a connection that it lost", func() {
		config := got(pgxpool.ParseConfig(""))
		config.MaxConns = 1
		pool := got(pgxpool.NewWithConfig(background, config))
		defer pool.Close()
		expect(seen(pool), items)
		transaction := got(pool.Begin(background))
		got(transaction.Exec(background, "SET LOCAL idle_in_transaction_session_timeout TO '50ms'"))
		time.Sleep(time.Second)
		_, err := transaction.Exec(background, "SELECT 1")
		code(err, "25P03")
		transaction.Rollback(background)
		expect(seen(pool), items)
	})

	check("database sql works as well", func() {
		database := stdlib.OpenDB(*got(pgx.ParseConfig("")))
		defer database.Close()
		database.SetMaxOpenConns(4)
		statement := got(database.Prepare("SELECT count(*) FROM orders WHERE amount > $1"))
		defer statement.Close()
		var all sync.WaitGroup
		counts := make([]int, 20)
		for number := range counts {
			all.Go(func() {
				if err := statement.QueryRow(0).Scan(&counts[number]); err != nil {
					counts[number] = -1
				}
			})
		}
		all.Wait()
		expect(counts, slices.Repeat([]int{len(items)}, 20))
		transaction := got(database.BeginTx(background, &sql.TxOptions{Isolation: sql.LevelSerializable, ReadOnly: true}))
		var level string
		must(transaction.QueryRow("SHOW transaction_isolation").Scan(&level))
		expect(level, "serializable")
		_, err := transaction.Exec("INSERT INTO notes (id) VALUES (1)")
		code(err, "25006")
		must(transaction.Rollback())
	})

	check("errors say what PostgreSQL says", func() {
		with(func(connection *pgx.Conn) {
			for _, mode := range modes {
				report := code(exec(connection, "SELECT items FROM orders WHERE amount > $1", mode, 1), "42703")
				expect(report.Position, int32(8))
				expect(report.Severity, "ERROR")
				expect(strings.Contains(report.Hint, "orders.item"), true)
				expect(report.File, "parse_relation.c")
			}
			missing := code(exec(connection, "INSERT INTO orders (item) VALUES ('x')"), "23502")
			expect([]string{missing.TableName, missing.ColumnName}, []string{"orders", "amount"})
		})
	})

	check("the tenant can not be changed", func() {
		if isDirect {
			return
		}
		with(func(connection *pgx.Conn) {
			expect(code(exec(connection, "SET app.tenant_id TO 'other'"), "42501").Hint != "", true)
			code(exec(connection, "SELECT set_config('app.tenant_id', $1, false)", "other"), "42501")
			expect(seen(connection), items)
		})
	})
}

func noTag(_ pgconn.CommandTag, err error) error { return err }

// tornReader fails at once.
type tornReader struct{}

func (tornReader) Read([]byte) (int, error) { return 0, errors.New("torn") }
