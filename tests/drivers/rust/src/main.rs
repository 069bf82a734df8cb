//! Checks tokio-postgres: prepared and typed queries, pipelined futures, portals, COPY, listeners and cancel tokens.

mod harness;

use std::env;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::{join3, join_all};
use futures_util::{stream, SinkExt, StreamExt, TryStreamExt};
use harness::{check, failure, has_one_server, is_direct, items, may_listen, remember_panics};
use serde_json::json;
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::error::ErrorPosition;
use tokio_postgres::types::{FromSqlOwned, Kind, ToSql, Type};
use tokio_postgres::{
    AsyncMessage, Client, Config, GenericClient, IsolationLevel, NoTls, SimpleQueryMessage,
};
use uuid::Uuid;

const COUNT: &str = "SELECT count(*) FROM orders WHERE amount > $1::int";

fn config(options: &str) -> Config {
    let given = |name| env::var(name).unwrap();
    let mut config = Config::new();
    config
        .host(given("PGHOST"))
        .port(given("PGPORT").parse().unwrap())
        .user(given("PGUSER"))
        .password(given("PGPASSWORD"))
        .dbname(given("PGDATABASE"))
        .options(format!(
            "{} {options}",
            env::var("PGOPTIONS").unwrap_or_default()
        ));
    config
}

async fn connect() -> Client {
    connect_with(&config("")).await
}

async fn connect_with(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Makes other clients' next transactions run on another server.
struct Mover {
    client: Client,
    holds: bool,
}

impl Mover {
    async fn new() -> Self {
        Mover {
            client: connect().await,
            holds: false,
        }
    }

    async fn go(&mut self) {
        if !has_one_server() {
            let word = if self.holds {
                "ROLLBACK"
            } else {
                "BEGIN; SELECT 1"
            };
            self.client.batch_execute(word).await.unwrap();
            self.holds = !self.holds;
        }
    }
}

async fn value<T: FromSqlOwned>(
    client: &impl GenericClient,
    text: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> T {
    client.query_one(text, parameters).await.unwrap().get(0)
}

async fn shown(client: &impl GenericClient, name: &str) -> String {
    value(client, "SELECT current_setting($1)", &[&name]).await
}

async fn seen(client: &impl GenericClient) -> Vec<String> {
    let rows = client
        .query("SELECT item FROM orders WHERE amount > $1::int", &[&0])
        .await
        .unwrap();
    let mut found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    found.sort();
    found
}

fn count() -> i64 {
    items().len() as i64
}

fn main() {
    remember_panics();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, run());
    std::process::exit(0);
}

async fn run() {
    check("a tenant sees its rows on every server", async {
        let (client, mut mover) = (connect().await, Mover::new().await);
        for number in 0..5 {
            assert_eq!(seen(&client).await, items());
            let typed = client
                .query_typed("SELECT $1 + 1", &[(&number, Type::INT4)])
                .await
                .unwrap();
            assert_eq!(typed[0].get::<_, i32>(0), number + 1);
            failure(client.query("SELECT 1 / $1::int", &[&0]).await, "22012");
            mover.go().await;
        }
    })
    .await;

    check(
        "a string of several statements gives a result for each",
        async {
            let client = connect().await;
            let messages = client
                .simple_query("SELECT 1; SELECT count(*) FROM orders; SELECT 3")
                .await
                .unwrap();
            let found: Vec<_> = messages
                .iter()
                .filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap().to_owned()),
                    _ => None,
                })
                .collect();
            assert_eq!(found, ["1", &count().to_string(), "3"]);
        },
    )
    .await;

    check("types come back as they were sent, in binary", async {
        let client = connect().await;
        let bytes = vec![0u8, 1, 92, 39, 255];
        let document = json!({"a": [1, "ü"]});
        let list = vec![Some(1i32), None, Some(3)];
        let at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_709_210_096_789_000);
        let id = Uuid::from_u128(0x0f8fad5bd9cb469fa16570867728950e);
        let words = vec!["a \"b\"", "c\\d'", ""];
        let row = client
            .query_one(
                "SELECT $1::int8, $2::bytea, $3::jsonb, $4::int[], $5::timestamptz, $6::uuid, $7::text[], $8::text",
                &[&i64::MAX, &bytes, &document, &list, &at, &id, &words, &None::<String>],
            )
            .await
            .unwrap();
        assert_eq!(row.get::<_, i64>(0), i64::MAX);
        assert_eq!(row.get::<_, Vec<u8>>(1), bytes);
        assert_eq!(row.get::<_, serde_json::Value>(2), document);
        assert_eq!(row.get::<_, Vec<Option<i32>>>(3), list);
        assert_eq!(row.get::<_, SystemTime>(4), at);
        assert_eq!(row.get::<_, Uuid>(5), id);
        assert_eq!(row.get::<_, Vec<String>>(6), words);
        assert_eq!(row.get::<_, Option<String>>(7), None);
    })
    .await;

    check("the tenant's own types are looked up", async {
        let (client, mut mover) = (connect().await, Mover::new().await);
        for _ in 0..2 {
            let statement = client
                .prepare("SELECT $1::mood, $2::place[]")
                .await
                .unwrap();
            assert_eq!(
                statement.params()[0].kind(),
                &Kind::Enum(vec!["sad".into(), "ok".into(), "happy".into()])
            );
            let Kind::Array(place) = statement.columns()[1].type_().kind() else {
                panic!("not an array")
            };
            let Kind::Composite(fields) = place.kind() else {
                panic!("not a composite")
            };
            assert_eq!(
                fields.iter().map(|field| field.name()).collect::<Vec<_>>(),
                ["street", "no"]
            );
            mover.go().await;
            client.clear_type_cache();
        }
    })
    .await;

    check(
        "prepared statements are reused in and out of transactions",
        async {
            let (mut client, mut mover) = (connect().await, Mover::new().await);
            let statement = client.prepare(COUNT).await.unwrap();
            for _ in 0..4 {
                assert_eq!(
                    client
                        .query_one(&statement, &[&0])
                        .await
                        .unwrap()
                        .get::<_, i64>(0),
                    count()
                );
                let transaction = client.transaction().await.unwrap();
                assert_eq!(
                    transaction
                        .query_one(&statement, &[&i32::MAX])
                        .await
                        .unwrap()
                        .get::<_, i64>(0),
                    0
                );
                transaction.rollback().await.unwrap();
                mover.go().await;
            }
        },
    )
    .await;

    check("more statements than a server keeps", async {
        let (client, mut mover) = (connect().await, Mover::new().await);
        let mut statements = Vec::new();
        for number in 0..60 {
            statements.push(
                client
                    .prepare(&format!("SELECT $1::int + {number}"))
                    .await
                    .unwrap(),
            );
        }
        for round in 0..3 {
            for (number, statement) in statements.iter().enumerate() {
                let sum: i32 = client.query_one(statement, &[&round]).await.unwrap().get(0);
                assert_eq!(sum, round + number as i32);
            }
            mover.go().await;
        }
        drop(statements); // closes them all
        assert_eq!(seen(&client).await, items());
    })
    .await;

    check(
        "DISCARD takes statements away only where PostgreSQL does",
        async {
            let client = connect().await;
            let statement = client.prepare(COUNT).await.unwrap();
            for what in ["PLANS", "SEQUENCES", "TEMP"] {
                assert_eq!(
                    client
                        .query_one(&statement, &[&0])
                        .await
                        .unwrap()
                        .get::<_, i64>(0),
                    count()
                );
                client
                    .batch_execute(&format!("DISCARD {what}"))
                    .await
                    .unwrap();
            }
            assert_eq!(
                client
                    .query_one(&statement, &[&0])
                    .await
                    .unwrap()
                    .get::<_, i64>(0),
                count()
            );
            client.batch_execute("DISCARD ALL").await.unwrap();
            failure(client.query(&statement, &[&0]).await, "26000");
            assert_eq!(seen(&client).await, items());
        },
    )
    .await;

    check("transactions, savepoints and errors inside", async {
        let (mut client, mut mover) = (connect().await, Mover::new().await);
        client.batch_execute("DELETE FROM notes").await.unwrap();
        let mut outer = client.transaction().await.unwrap();
        outer
            .execute("INSERT INTO notes (id) VALUES ($1)", &[&1])
            .await
            .unwrap();
        let inner = outer.savepoint("s").await.unwrap();
        inner
            .execute("INSERT INTO notes (id) VALUES ($1)", &[&2])
            .await
            .unwrap();
        failure(inner.query("SELECT 1 / $1::int", &[&0]).await, "22012");
        failure(inner.query("SELECT 1", &[]).await, "25P02");
        inner.rollback().await.unwrap();
        let inner = outer.transaction().await.unwrap();
        inner
            .execute("INSERT INTO notes (id) VALUES ($1)", &[&3])
            .await
            .unwrap();
        inner.commit().await.unwrap();
        outer.commit().await.unwrap();
        mover.go().await;
        let ids = "SELECT array_agg(id ORDER BY id) FROM notes";
        assert_eq!(value::<Vec<i32>>(&client, ids, &[]).await, [1, 3]);
        let failing = client.transaction().await.unwrap();
        failing.execute("DELETE FROM notes", &[]).await.unwrap();
        failure(failing.query("SELECT nope", &[]).await, "42703");
        drop(failing); // rolls back
        mover.go().await;
        assert_eq!(value::<Vec<i32>>(&client, ids, &[]).await, [1, 3]);
        client.batch_execute("DELETE FROM notes").await.unwrap();
    })
    .await;

    check("isolation levels", async {
        let mut client = connect().await;
        for (level, name) in [
            (IsolationLevel::ReadUncommitted, "read uncommitted"),
            (IsolationLevel::ReadCommitted, "read committed"),
            (IsolationLevel::RepeatableRead, "repeatable read"),
            (IsolationLevel::Serializable, "serializable"),
        ] {
            let transaction = client
                .build_transaction()
                .isolation_level(level)
                .start()
                .await
                .unwrap();
            assert_eq!(shown(&transaction, "transaction_isolation").await, name);
            assert_eq!(seen(&transaction).await, items());
            transaction.commit().await.unwrap();
        }
        let reading = client
            .build_transaction()
            .read_only(true)
            .deferrable(true)
            .start()
            .await
            .unwrap();
        failure(
            reading
                .execute("INSERT INTO notes (id) VALUES (1)", &[])
                .await,
            "25006",
        );
    })
    .await;

    check("twenty clients share few servers", async {
        join_all((1..=20).map(|number: i32| async move {
            let mut client = connect().await;
            let memory = format!("{number}MB");
            client
                .batch_execute(&format!("SET work_mem TO '{memory}'"))
                .await
                .unwrap();
            for _ in 0..4 {
                assert_eq!(shown(&client, "work_mem").await, memory);
                assert_eq!(seen(&client).await, items());
                let transaction = client.transaction().await.unwrap();
                transaction
                    .execute("INSERT INTO notes (id) VALUES ($1)", &[&number])
                    .await
                    .unwrap();
                let found: i64 = value(
                    &transaction,
                    "SELECT count(*) FROM notes WHERE id = $1",
                    &[&number],
                )
                .await;
                assert_eq!(found, 1);
                transaction.rollback().await.unwrap();
            }
        }))
        .await;
        assert_eq!(
            value::<i64>(&connect().await, "SELECT count(*) FROM notes", &[]).await,
            0
        );
    })
    .await;

    check(
        "pipelined queries answer in order and keep errors apart",
        async {
            let (client, mut mover) = (connect().await, Mover::new().await);
            let statement = client
                .prepare("SELECT 10 / $1::int, (SELECT count(*) FROM orders)")
                .await
                .unwrap();
            for _ in 0..3 {
                let divisors: Vec<i32> = (0..80).map(|number| number % 7).collect();
                let answers = join_all(divisors.iter().map(|divisor| {
                    let (client, statement) = (&client, &statement);
                    async move { client.query_one(statement, &[divisor]).await }
                }));
                for (divisor, answer) in divisors.iter().zip(answers.await) {
                    if *divisor == 0 {
                        failure(answer, "22012");
                    } else {
                        let row = answer.unwrap();
                        assert_eq!(
                            (row.get::<_, i32>(0), row.get::<_, i64>(1)),
                            (10 / divisor, count())
                        );
                    }
                }
                mover.go().await;
            }
            let (first, second, third) = join3(
                client.batch_execute("BEGIN; INSERT INTO notes (id) VALUES (1)"),
                client.query_typed("SELECT count(*) FROM notes", &[]),
                client.batch_execute("ROLLBACK"),
            )
            .await;
            first.unwrap();
            third.unwrap();
            assert_eq!(second.unwrap()[0].get::<_, i64>(0), 1);
            assert_eq!(
                value::<i64>(&client, "SELECT count(*) FROM notes", &[]).await,
                0
            );
        },
    )
    .await;

    check("portals give a part at a time", async {
        let (mut client, mut mover) = (connect().await, Mover::new().await);
        for _ in 0..2 {
            let transaction = client.transaction().await.unwrap();
            let text = "SELECT n, (SELECT count(*) FROM orders) FROM generate_series(1, $1::int) n";
            let portal = transaction.bind(text, &[&250]).await.unwrap();
            for expected in [100, 100, 50, 0] {
                let rows = transaction.query_portal(&portal, 100).await.unwrap();
                assert_eq!(rows.len(), expected);
                assert!(rows.iter().all(|row| row.get::<_, i64>(1) == count()));
                assert_eq!(seen(&transaction).await, items()); // in between
            }
            drop(portal);
            transaction.commit().await.unwrap();
            mover.go().await;
        }
    })
    .await;

    check("rows may be left early", async {
        let client = connect().await;
        for _ in 0..3 {
            let rows = client
                .query_raw("SELECT generate_series(1, $1::int)", [5000])
                .await
                .unwrap();
            let mut rows = pin!(rows);
            assert_eq!(rows.try_next().await.unwrap().unwrap().get::<_, i32>(0), 1);
        }
        assert_eq!(seen(&client).await, items());
        let rows = client
            .query_raw(
                "SELECT 10 / ($1::int - n) FROM generate_series(1, 9) n",
                [5],
            )
            .await
            .unwrap();
        failure(rows.try_collect::<Vec<_>>().await, "22012");
        assert_eq!(seen(&client).await, items());
    })
    .await;

    check("COPY in and out", async {
        let (client, mut mover) = (connect().await, Mover::new().await);
        client.batch_execute("DELETE FROM loads").await.unwrap();
        let copy_in = "COPY loads (id, body) FROM STDIN";
        let lines: Vec<String> = (0..5000)
            .map(|number| format!("{number}\tline {number}\n"))
            .collect();
        let mut sink = pin!(client.copy_in(copy_in).await.unwrap());
        let mut chunks = stream::iter(lines.clone()).map(|line| Ok(Bytes::from(line)));
        sink.send_all(&mut chunks).await.unwrap();
        assert_eq!(sink.finish().await.unwrap(), 5000);
        mover.go().await;
        let out = client
            .copy_out("COPY (SELECT id, body FROM loads ORDER BY id) TO STDOUT")
            .await
            .unwrap();
        let copied = out.try_fold(Vec::new(), |mut all, chunk| async move {
            all.extend_from_slice(&chunk);
            Ok(all)
        });
        assert_eq!(copied.await.unwrap(), lines.concat().into_bytes());

        let mut sink = pin!(client.copy_in(copy_in).await.unwrap());
        sink.send(Bytes::from_static(b"x\ty\n")).await.unwrap();
        failure(sink.finish().await, "22P02");
        {
            let mut torn = Box::pin(client.copy_in(copy_in).await.unwrap());
            torn.send(Bytes::from_static(b"1\tone\n")).await.unwrap();
        } // given up: the driver fails the COPY
        assert_eq!(
            value::<i64>(&client, "SELECT count(*) FROM loads", &[]).await,
            5000
        );
        client.batch_execute("DELETE FROM loads").await.unwrap();
    })
    .await;

    check("COPY in binary", async {
        let client = connect().await;
        let types = [Type::INT4, Type::TEXT];
        let sink = client
            .copy_in("COPY loads (id, body) FROM STDIN (FORMAT binary)")
            .await
            .unwrap();
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
        for number in 0..1000i32 {
            writer.as_mut().write(&[&number, &"body"]).await.unwrap();
        }
        assert_eq!(writer.finish().await.unwrap(), 1000);
        let out = client
            .copy_out("COPY (SELECT id, body FROM loads) TO STDOUT (FORMAT binary)")
            .await
            .unwrap();
        let rows: Vec<_> = BinaryCopyOutStream::new(out, &types)
            .try_collect()
            .await
            .unwrap();
        assert_eq!(
            rows.iter().map(|row| row.get::<i32>(0)).sum::<i32>(),
            499_500
        );
        client.batch_execute("DELETE FROM loads").await.unwrap();
    })
    .await;

    check("settings last for the client alone", async {
        let mut options = config("-c TimeZone=Asia/Tokyo -c work_mem=5MB");
        let (mut client, mut mover) = (
            connect_with(options.application_name("shop")).await,
            Mover::new().await,
        );
        for _ in 0..3 {
            assert_eq!(shown(&client, "TimeZone").await, "Asia/Tokyo");
            assert_eq!(shown(&client, "application_name").await, "shop");
            assert_eq!(shown(&client, "work_mem").await, "5MB");
            mover.go().await;
        }
        client.batch_execute("SET TimeZone TO 'UTC'").await.unwrap();
        let transaction = client.transaction().await.unwrap();
        transaction
            .batch_execute("SET work_mem TO '6MB'")
            .await
            .unwrap();
        transaction.rollback().await.unwrap();
        mover.go().await;
        assert_eq!(shown(&client, "TimeZone").await, "UTC");
        assert_eq!(shown(&client, "work_mem").await, "5MB");
        assert_eq!(shown(&connect().await, "work_mem").await, "4MB");
    })
    .await;

    check(
        "a listener hears notifications, and notices arrive",
        async {
            let (client, mut connection) = config("").connect(NoTls).await.unwrap();
            let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
            tokio::spawn(async move {
                let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
                while let Some(Ok(message)) = messages.next().await {
                    let _ = match message {
                        AsyncMessage::Notification(message) => {
                            sender.send(message.payload().to_owned())
                        }
                        AsyncMessage::Notice(notice) => sender.send(notice.message().to_owned()),
                        _ => Ok(()),
                    };
                }
            });
            client
                .batch_execute("DO $$ BEGIN RAISE WARNING 'careful'; END $$")
                .await
                .unwrap();
            assert_eq!(heard.recv().await.unwrap(), "careful");
            let channel = format!("tokio_postgres_{}", env::var("TENANT").unwrap());
            if !may_listen() {
                failure(
                    client.batch_execute(&format!("LISTEN {channel}")).await,
                    "0A000",
                );
                return;
            }
            client
                .batch_execute(&format!("LISTEN {channel}"))
                .await
                .unwrap();
            let server: i32 = value(&client, "SELECT pg_backend_pid()", &[]).await;
            let notify = "SELECT pg_notify($1, 'gong')::text";
            if has_one_server() {
                client.query(notify, &[&channel]).await.unwrap();
            } else {
                connect().await.query(notify, &[&channel]).await.unwrap();
            }
            assert_eq!(heard.recv().await.unwrap(), "gong");
            assert_eq!(
                value::<i32>(&client, "SELECT pg_backend_pid()", &[]).await,
                server
            );
            client
                .batch_execute(&format!("UNLISTEN {channel}"))
                .await
                .unwrap();
        },
    )
    .await;

    check("a cancel token stops a running statement", async {
        let client = connect().await;
        for _ in 0..2 {
            let mut pause = Duration::from_millis(150);
            let mut sleep = pin!(client.batch_execute("SELECT pg_sleep(60)"));
            let ended = loop {
                // Not often, for cancel_query does not wait until it is done, and a late one meets what comes next.
                match tokio::time::timeout(pause, &mut sleep).await {
                    Ok(ended) => break ended,
                    Err(_) => client.cancel_token().cancel_query(NoTls).await.unwrap(),
                }
                pause = Duration::from_secs(10);
            };
            failure(ended, "57014");
            assert_eq!(seen(&client).await, items());
        }
    })
    .await;

    check("timeouts given at connecting", async {
        let client = connect_with(&config("-c statement_timeout=1000 -c lock_timeout=3s")).await;
        let said = failure(
            client.query("SELECT pg_sleep($1)", &[&20f64]).await,
            "57014",
        );
        assert!(said.message().contains("statement timeout"));
        assert_eq!(shown(&client, "lock_timeout").await, "3s");
        assert_eq!(seen(&client).await, items());
    })
    .await;

    check("a lost connection says so", async {
        let client = connect().await;
        client
            .batch_execute("BEGIN; SET LOCAL idle_in_transaction_session_timeout TO '50ms'")
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(1000)).await;
        assert!(client.query("SELECT 1", &[]).await.is_err());
        assert!(client.is_closed());
        assert_eq!(seen(&connect().await).await, items());
    })
    .await;

    check("errors say what PostgreSQL says", async {
        let client = connect().await;
        let text = "SELECT items FROM orders WHERE amount > 1";
        for result in [
            client.query(text, &[]).await.map(drop),
            client.batch_execute(text).await,
        ] {
            let said = failure(result, "42703");
            assert_eq!(said.position(), Some(&ErrorPosition::Original(8)));
            assert_eq!(said.severity(), "ERROR");
            assert!(said.hint().unwrap().contains("orders.item"));
            assert_eq!(said.file(), Some("parse_relation.c"));
        }
        let said = failure(
            client
                .batch_execute("INSERT INTO orders (item) VALUES ('x')")
                .await,
            "23502",
        );
        assert_eq!(
            (said.table(), said.column()),
            (Some("orders"), Some("amount"))
        );
    })
    .await;

    check("the tenant can not be changed", async {
        if is_direct() {
            return;
        }
        let client = connect().await;
        assert!(failure(
            client.batch_execute("SET app.tenant_id TO 'other'").await,
            "42501"
        )
        .hint()
        .is_some());
        let other = client
            .query("SELECT set_config('app.tenant_id', $1, false)", &[&"other"])
            .await;
        failure(other, "42501");
        assert_eq!(seen(&client).await, items());
    })
    .await;
}
