//! Runs named checks one after the other and prints a line of JSON for each.

use std::cell::RefCell;
use std::env;
use std::future::Future;
use std::time::Duration;

use serde_json::json;
use tokio_postgres::error::DbError;

const TIMEOUT: Duration = Duration::from_secs(40);

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Panics end a check: remember what they say instead of printing it.
pub fn remember_panics() {
    std::panic::set_hook(Box::new(|panic| {
        PANIC.with(|text| *text.borrow_mut() = panic.to_string())
    }));
}

/// A check that hangs is the last: what it holds would be in the way of the others.
pub async fn check(name: &str, body: impl Future<Output = ()> + 'static) {
    match tokio::time::timeout(TIMEOUT, tokio::task::spawn_local(body)).await {
        Ok(Ok(())) => report(name, ""),
        Ok(Err(_)) => report(name, &PANIC.with(|text| text.borrow().clone())),
        Err(_) => {
            report(name, &format!("not finished after {TIMEOUT:?}"));
            std::process::exit(1);
        }
    }
}

fn report(name: &str, problem: &str) {
    // Not from a map, whose keys would be sorted: the line begins with "check".
    println!(
        r#"{{"check": {}, "ok": {}, "detail": {}}}"#,
        json!(name),
        problem.is_empty(),
        json!(problem)
    );
}

pub fn items() -> Vec<String> {
    let mut items: Vec<String> = serde_json::from_str(&env::var("ITEMS").unwrap()).unwrap();
    items.sort();
    items
}

pub fn is_direct() -> bool {
    env::var("WAY").unwrap() == "directly"
}

pub fn has_one_server() -> bool {
    env::var("WAY").unwrap() == "one server"
}

/// Where tenants share a database, LISTEN is refused unless it is configured, as it is for few servers.
pub fn may_listen() -> bool {
    !has_one_server() || env::var("TENANT").unwrap() == "initech"
}

/// What PostgreSQL said of a failure, which must have this SQLSTATE.
#[track_caller]
pub fn failure<T>(result: Result<T, tokio_postgres::Error>, sqlstate: &str) -> DbError {
    let Err(error) = result else {
        panic!("nothing failed, expected {sqlstate}")
    };
    let Some(said) = error.as_db_error() else {
        panic!("{error}, expected {sqlstate}")
    };
    assert_eq!(said.code().code(), sqlstate, "{said}");
    said.clone()
}
