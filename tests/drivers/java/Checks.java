import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.StringReader;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.Array;
import java.sql.BatchUpdateException;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyIn;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;
import org.postgresql.util.PGobject;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

/** Checks pgjdbc: query modes, server-prepared statements, batches, fetch sizes, COPY, metadata and cancelling. */
public class Checks extends Harness {
    static final Map<String, String> AT_ONCE = Map.of("prepareThreshold", "1"); // prepared from the first use on

    interface Use {
        void with(Connection connection) throws Exception;
    }

    interface Moving {
        void with(Connection connection, Body move) throws Exception;
    }

    static Connection connect(Map<String, String> more) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("PGUSER"));
        properties.setProperty("password", System.getenv("PGPASSWORD"));
        properties.setProperty("sslmode", "disable");
        properties.putAll(more);
        String context = System.getenv().getOrDefault("PGOPTIONS", "");
        properties.setProperty("options", (context + " " + more.getOrDefault("options", "")).strip());
        String url = "jdbc:postgresql://%s:%s/%s";
        return DriverManager.getConnection(
                url.formatted(System.getenv("PGHOST"), System.getenv("PGPORT"), System.getenv("PGDATABASE")), properties);
    }

    static void with(Map<String, String> more, Use use) throws Exception {
        try (Connection connection = connect(more)) {
            use.with(connection);
        }
    }

    static void with(Use use) throws Exception {
        with(Map.of(), use);
    }

    /** Gives `use` something that makes the connection's next transaction run on another server. */
    static void moving(Map<String, String> more, Moving use) throws Exception {
        boolean[] holds = {false};
        try (Connection other = connect(Map.of())) {
            Body move =
                    () -> {
                        if (HAS_ONE_SERVER) return;
                        run(other, holds[0] ? "ROLLBACK" : "BEGIN; SELECT 1");
                        holds[0] = !holds[0];
                    };
            with(more, connection -> use.with(connection, move));
        }
    }

    static void run(Connection connection, String text) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(text);
        }
    }

    static PreparedStatement prepare(Connection connection, String text, Object... parameters) throws SQLException {
        PreparedStatement statement = connection.prepareStatement(text);
        for (int number = 0; number < parameters.length; number++) statement.setObject(number + 1, parameters[number]);
        return statement;
    }

    static List<Object> column(Connection connection, String text, Object... parameters) throws SQLException {
        List<Object> values = new ArrayList<>();
        try (PreparedStatement statement = prepare(connection, text, parameters);
                ResultSet rows = statement.executeQuery()) {
            while (rows.next()) values.add(rows.getObject(1));
        }
        return values;
    }

    static Object value(Connection connection, String text, Object... parameters) throws SQLException {
        return column(connection, text, parameters).get(0);
    }

    static List<Object> seen(Connection connection) throws SQLException {
        List<Object> found = column(connection, "SELECT item FROM orders WHERE amount > ?", 0);
        found.sort(null);
        return found;
    }

    static int change(Connection connection, String text, Object... parameters) throws SQLException {
        try (PreparedStatement statement = prepare(connection, text, parameters)) {
            return statement.executeUpdate();
        }
    }

    public static void main(String[] arguments) throws Exception {
        check("every query mode sees the tenant on every server", () -> {
            for (String mode : List.of("simple", "extended", "extendedForPrepared", "extendedCacheEverything")) {
                moving(Map.of("preferQueryMode", mode, "prepareThreshold", "2"), (connection, move) -> {
                    for (int number = 0; number < 5; number++) {
                        expect(seen(connection), ITEMS);
                        expect(value(connection, "SELECT ?::int + 1", number), number + 1);
                        failure("22012", () -> value(connection, "SELECT 1 / ?::int", 0));
                        run(connection, "SELECT item FROM orders");
                        move.run();
                    }
                });
            }
        });

        check("a string of several statements gives a result for each", () -> with(connection -> {
            try (Statement statement = connection.createStatement()) {
                statement.execute("SELECT 1; SELECT count(*)::int FROM orders; SELECT 3");
                List<Integer> found = new ArrayList<>();
                do {
                    try (ResultSet rows = statement.getResultSet()) {
                        rows.next();
                        found.add(rows.getInt(1));
                    }
                } while (statement.getMoreResults());
                expect(found, List.of(1, ITEMS.size(), 3));
            }
        }));

        check("types come back as they were sent, in text and binary", () -> moving(AT_ONCE, (connection, move) -> {
            UUID id = UUID.fromString("0f8fad5b-d9cb-469f-a165-70867728950e");
            OffsetDateTime at = OffsetDateTime.of(2024, 2, 29, 12, 34, 56, 789_000_000, ZoneOffset.UTC);
            BigDecimal exact = new BigDecimal("123456789012345678901234567890.123456789");
            byte[] bytes = {0, 1, 92, 39, -1};
            PGobject document = new PGobject();
            document.setType("jsonb");
            document.setValue("{\"a\": [1, \"ü\"]}");
            PGobject mood = new PGobject();
            mood.setType("mood");
            mood.setValue("happy");
            String text = "SELECT ?::int8, ?::numeric, ?::bytea, ?::jsonb, ?::int[], ?::timestamptz, ?::uuid, ?::text[], ?::mood, ?::text";
            try (PreparedStatement statement = connection.prepareStatement(text)) {
                for (int round = 0; round < 4; round++) {
                    statement.setLong(1, Long.MAX_VALUE);
                    statement.setBigDecimal(2, exact);
                    statement.setBytes(3, bytes);
                    statement.setObject(4, document);
                    statement.setArray(5, connection.createArrayOf("int4", new Object[] {1, null, 3}));
                    statement.setObject(6, at);
                    statement.setObject(7, id);
                    statement.setArray(8, connection.createArrayOf("text", new Object[] {"a \"b\"", "c\\d'", ""}));
                    statement.setObject(9, mood);
                    statement.setNull(10, Types.VARCHAR);
                    try (ResultSet row = statement.executeQuery()) {
                        row.next();
                        expect(row.getLong(1), Long.MAX_VALUE);
                        expect(row.getBigDecimal(2), exact);
                        expect(row.getBytes(3), bytes);
                        expect(row.getString(4), document.getValue());
                        expect(row.getArray(5).getArray(), new Integer[] {1, null, 3});
                        expect(row.getObject(6, OffsetDateTime.class), at);
                        expect(row.getObject(7), id);
                        expect(row.getArray(8).getArray(), new String[] {"a \"b\"", "c\\d'", ""});
                        expect(row.getString(9), "happy");
                        expect(row.getString(10), null);
                    }
                    move.run();
                }
            }
        }));

        check("server-prepared statements are reused in and out of transactions", () -> moving(AT_ONCE, (connection, move) -> {
            try (PreparedStatement statement = connection.prepareStatement("SELECT count(*)::int FROM orders WHERE amount > ?")) {
                for (int round = 0; round < 6; round++) {
                    connection.setAutoCommit(round % 2 == 0);
                    for (int least : new int[] {0, 1_000_000_000}) {
                        statement.setInt(1, least);
                        try (ResultSet row = statement.executeQuery()) {
                            row.next();
                            expect(row.getInt(1), least == 0 ? ITEMS.size() : 0);
                        }
                    }
                    if (!connection.getAutoCommit()) connection.commit();
                    move.run();
                }
            }
        }));

        check("more statements than a server keeps", () -> moving(
            Map.of("prepareThreshold", "1", "preparedStatementCacheQueries", "45"), (connection, move) -> {
                for (int round = 0; round < 3; round++) {
                    for (int number = 0; number < 60; number++) { // past the driver's own cache too, which closes statements
                        expect(value(connection, "SELECT ?::int + " + number, round), round + number);
                    }
                    move.run();
                }
            }));

        check("statements come back after DISCARD and DEALLOCATE", () -> with(AT_ONCE, connection -> {
            for (String what : List.of("DISCARD PLANS", "DISCARD TEMP", "DISCARD SEQUENCES", "DEALLOCATE ALL", "DISCARD ALL")) {
                for (int round = 0; round < 3; round++) expect(seen(connection), ITEMS);
                run(connection, what);
            }
            expect(seen(connection), ITEMS);
        }));

        check("transactions, savepoints and errors inside", () -> moving(AT_ONCE, (connection, move) -> {
            run(connection, "DELETE FROM notes");
            connection.setAutoCommit(false);
            change(connection, "INSERT INTO notes (id) VALUES (?)", 1);
            Savepoint savepoint = connection.setSavepoint("s");
            change(connection, "INSERT INTO notes (id) VALUES (?)", 2);
            failure("22012", () -> value(connection, "SELECT 1 / ?::int", 0));
            failure("25P02", () -> value(connection, "SELECT 1"));
            connection.rollback(savepoint);
            change(connection, "INSERT INTO notes (id) VALUES (?)", 3);
            connection.releaseSavepoint(savepoint);
            connection.commit();
            move.run();
            expect(column(connection, "SELECT id FROM notes ORDER BY id"), List.of(1, 3));
            run(connection, "DELETE FROM notes");
            failure("42703", () -> run(connection, "SELECT nope"));
            connection.commit(); // which PostgreSQL answers by ROLLBACK
            move.run();
            expect(column(connection, "SELECT id FROM notes ORDER BY id"), List.of(1, 3));
            run(connection, "DELETE FROM notes");
            connection.commit();
        }));

        check("autosave goes on behind an error", () -> moving(Map.of("prepareThreshold", "1", "autosave", "always"), (connection, move) -> {
            connection.setAutoCommit(false);
            for (int round = 0; round < 3; round++) {
                change(connection, "INSERT INTO notes (id) VALUES (?)", round);
                failure("22012", () -> value(connection, "SELECT 1 / ?::int", 0));
                expect(value(connection, "SELECT count(*)::int FROM notes"), 1);
                expect(seen(connection), ITEMS);
                connection.rollback();
                move.run();
            }
        }));

        check("isolation levels", () -> with(connection -> {
            connection.setAutoCommit(false);
            for (int level : new int[] {
                Connection.TRANSACTION_READ_UNCOMMITTED, Connection.TRANSACTION_READ_COMMITTED,
                Connection.TRANSACTION_REPEATABLE_READ, Connection.TRANSACTION_SERIALIZABLE
            }) {
                connection.setTransactionIsolation(level);
                expect(connection.getTransactionIsolation(), level);
                expect(seen(connection), ITEMS);
                connection.commit();
            }
            connection.setReadOnly(true);
            expect(value(connection, "SHOW transaction_isolation"), "serializable");
            failure("25006", () -> change(connection, "INSERT INTO notes (id) VALUES (1)"));
            connection.rollback();
            connection.setReadOnly(false);
            expect(change(connection, "INSERT INTO notes (id) VALUES (1)"), 1);
            connection.rollback();
        }));

        check("twenty connections share few servers", () -> {
            List<Future<Void>> all = new ArrayList<>();
            for (int number = 1; number <= 20; number++) {
                String memory = number + "MB";
                int id = number;
                all.add(inBackground(() -> {
                    with(AT_ONCE, connection -> {
                        run(connection, "SET work_mem TO '" + memory + "'");
                        for (int round = 0; round < 4; round++) {
                            expect(value(connection, "SHOW work_mem"), memory);
                            expect(seen(connection), ITEMS);
                            connection.setAutoCommit(false);
                            change(connection, "INSERT INTO notes (id, body) VALUES (?, ?)", id, "x");
                            expect(value(connection, "SELECT count(*)::int FROM notes WHERE id = ?", id), 1);
                            connection.rollback();
                            connection.setAutoCommit(true);
                        }
                    });
                    return null;
                }));
            }
            for (Future<Void> one : all) one.get();
        });

        check("batches", () -> {
            for (String rewrite : List.of("false", "true")) {
                moving(Map.of("reWriteBatchedInserts", rewrite), (connection, move) -> {
                    run(connection, "DELETE FROM notes");
                    try (PreparedStatement insert = connection.prepareStatement("INSERT INTO notes (id, body) VALUES (?, ?)")) {
                        for (int round = 0; round < 2; round++) {
                            for (int number = 0; number < 300; number++) {
                                insert.setInt(1, number);
                                insert.setString(2, "body " + number);
                                insert.addBatch();
                            }
                            expect(insert.executeBatch().length, 300);
                            move.run();
                        }
                    }
                    expect(value(connection, "SELECT count(*)::int FROM notes"), 600);
                    try (Statement mixed = connection.createStatement()) {
                        mixed.addBatch("DELETE FROM notes WHERE id < 100");
                        mixed.addBatch("UPDATE notes SET body = 'x' WHERE id = 200");
                        expect(mixed.executeBatch(), new int[] {200, 2});
                    }
                    try (PreparedStatement failing = connection.prepareStatement("UPDATE notes SET id = 1 / ?::int")) {
                        for (int divisor : new int[] {1, 0, 1}) {
                            failing.setInt(1, divisor);
                            failing.addBatch();
                        }
                        SQLException error = failure("22012", failing::executeBatch);
                        expect(error instanceof BatchUpdateException, true);
                    }
                    expect(value(connection, "SELECT max(id) FROM notes"), 299); // the batch was one transaction
                    run(connection, "DELETE FROM notes");
                });
            }
        });

        check("generated keys come back from a batch", () -> with(connection -> {
            connection.setAutoCommit(false);
            try (PreparedStatement insert = connection.prepareStatement("INSERT INTO orders (item, amount) VALUES (?, ?)", new String[] {"id"})) {
                for (int number = 0; number < 5; number++) {
                    insert.setString(1, "thing " + number);
                    insert.setInt(2, number);
                    insert.addBatch();
                }
                insert.executeBatch();
                int keys = 0;
                try (ResultSet rows = insert.getGeneratedKeys()) {
                    while (rows.next()) keys += rows.getLong(1) > 0 ? 1 : 0;
                }
                expect(keys, 5);
            }
            connection.rollback();
            expect(seen(connection), ITEMS);
        }));

        check("a fetch size reads a part at a time", () -> moving(AT_ONCE, (connection, move) -> {
            connection.setAutoCommit(false);
            for (int round = 0; round < 3; round++) {
                String text = "SELECT n, (SELECT count(*)::int FROM orders) FROM generate_series(1, ?::int) n";
                try (PreparedStatement statement = prepare(connection, text, 250)) {
                    statement.setFetchSize(100);
                    int count = 0;
                    try (ResultSet rows = statement.executeQuery()) {
                        while (rows.next()) {
                            expect(rows.getInt(1), ++count);
                            expect(rows.getInt(2), ITEMS.size());
                            if (count == 150) expect(seen(connection), ITEMS); // in between
                        }
                    }
                    expect(count, 250);
                    try (ResultSet rows = statement.executeQuery()) {
                        rows.next(); // and no more
                    }
                }
                expect(seen(connection), ITEMS);
                connection.commit();
                move.run();
            }
        }));

        check("results may be scrolled and changed", () -> with(connection -> {
            run(connection, "CREATE TEMP TABLE changed (id int PRIMARY KEY, body text)");
            run(connection, "INSERT INTO changed VALUES (1, 'a'), (2, 'b')");
            try (Statement statement = connection.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
                    ResultSet rows = statement.executeQuery("SELECT id, body FROM changed ORDER BY id")) {
                rows.last();
                rows.updateString("body", "c");
                rows.updateRow();
                rows.first();
                rows.deleteRow();
            }
            expect(column(connection, "SELECT body FROM changed"), List.of("c"));
            run(connection, "DROP TABLE changed");
        }));

        check("COPY in and out", () -> moving(Map.of(), (connection, move) -> {
            run(connection, "DELETE FROM loads");
            StringBuilder lines = new StringBuilder();
            for (int number = 0; number < 5000; number++) lines.append(number).append("\tline ").append(number).append('\n');
            CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
            String in = "COPY loads (id, body) FROM STDIN";
            expect(copy.copyIn(in, new StringReader(lines.toString())), 5000L);
            move.run();
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            expect(copy.copyOut("COPY (SELECT id, body FROM loads ORDER BY id) TO STDOUT", out), 5000L);
            expect(out.toString(StandardCharsets.UTF_8), lines.toString());
            failure("22P02", () -> copy.copyIn(in, new StringReader("x\ty\n")));
            CopyIn torn = copy.copyIn(in);
            torn.writeToCopy("1\tone\n".getBytes(), 0, 6);
            torn.cancelCopy();
            expect(value(connection, "SELECT count(*)::int FROM loads"), 5000);
            run(connection, "DELETE FROM loads");
        }));

        check("large objects and function calls", () -> with(connection -> {
            connection.setAutoCommit(false);
            LargeObjectManager manager = connection.unwrap(PGConnection.class).getLargeObjectAPI();
            long oid = manager.createLO();
            try (LargeObject object = manager.open(oid)) {
                object.write("one two".getBytes());
                object.seek(4);
                expect(new String(object.read(3)), "two");
            }
            expect(seen(connection), ITEMS);
            connection.rollback();
        }));

        check("functions are called", () -> with(AT_ONCE, connection -> {
            for (int round = 0; round < 3; round++) {
                try (CallableStatement call = connection.prepareCall("{? = call upper(?)}")) {
                    call.registerOutParameter(1, Types.VARCHAR);
                    call.setString(2, "loud");
                    call.execute();
                    expect(call.getString(1), "LOUD");
                }
            }
        }));

        check("settings last for the connection alone", () -> moving(
            Map.of("ApplicationName", "shop", "options", "-c work_mem=5MB"), (connection, move) -> {
                for (int round = 0; round < 3; round++) {
                    expect(value(connection, "SHOW application_name"), "shop");
                    expect(value(connection, "SHOW work_mem"), "5MB");
                    move.run();
                }
                connection.setClientInfo("ApplicationName", "other");
                run(connection, "SET TimeZone TO 'Asia/Tokyo'");
                connection.setAutoCommit(false);
                run(connection, "SET work_mem TO '6MB'");
                connection.rollback();
                move.run();
                expect(value(connection, "SHOW application_name"), "other");
                expect(value(connection, "SHOW TimeZone"), "Asia/Tokyo");
                expect(value(connection, "SHOW work_mem"), "5MB");
                connection.commit();
                with(fresh -> expect(value(fresh, "SHOW work_mem"), "4MB"));
            }));

        check("a listener hears notifications", () -> moving(Map.of(), (connection, move) -> {
            String channel = "pgjdbc_" + System.getenv("TENANT");
            if (!MAY_LISTEN) {
                failure("0A000", () -> run(connection, "LISTEN " + channel));
                return;
            }
            run(connection, "LISTEN " + channel);
            Object server = value(connection, "SELECT pg_backend_pid()");
            move.run();
            expect(value(connection, "SELECT pg_backend_pid()"), server);
            move.run(); // gives back what it held: two listeners and their senders have three servers
            Use notify = sender -> value(sender, "SELECT pg_notify(?, ?)::text", channel, "gong");
            if (HAS_ONE_SERVER) notify.with(connection);
            else with(notify);
            PGNotification[] heard = connection.unwrap(PGConnection.class).getNotifications(8000);
            expect(List.of(heard.length, heard[0].getName(), heard[0].getParameter()), List.of(1, channel, "gong"));
            run(connection, "UNLISTEN " + channel);
        }));

        check("warnings arrive", () -> with(connection -> {
            try (Statement statement = connection.createStatement()) {
                statement.execute("DO $$ BEGIN RAISE WARNING 'careful'; END $$");
                expect(statement.getWarnings().getMessage(), "careful");
            }
        }));

        check("a running statement is cancelled", () -> with(connection -> {
            for (int round = 0; round < 2; round++) {
                try (Statement statement = connection.createStatement()) {
                    Future<SQLException> ended = inBackground(() -> failure("57014", () -> statement.execute("SELECT pg_sleep(20)")));
                    while (!ended.isDone()) { // again and again, for PostgreSQL ignores what comes before the statement runs
                        try {
                            ended.get(150, TimeUnit.MILLISECONDS);
                        } catch (TimeoutException runs) {
                            statement.cancel();
                        }
                    }
                    ended.get();
                }
                expect(seen(connection), ITEMS);
            }
        }));

        check("a query timeout cancels", () -> with(connection -> {
            if (HAS_ONE_SERVER) return; // it asks once, and PostgreSQL ignores what comes before the statement runs
            try (Statement statement = connection.createStatement()) {
                statement.setQueryTimeout(1);
                failure("57014", () -> statement.execute("SELECT pg_sleep(20)"));
            }
            expect(seen(connection), ITEMS);
        }));

        check("timeouts given at connecting", () -> with(Map.of("options", "-c statement_timeout=1000 -c lock_timeout=3s"), connection -> {
            SQLException error = failure("57014", () -> value(connection, "SELECT pg_sleep(?::int)::text", 20));
            expect(error.getMessage().contains("statement timeout"), true);
            expect(value(connection, "SHOW lock_timeout"), "3s");
            expect(seen(connection), ITEMS);
        }));

        check("a lost connection says so", () -> {
            with(connection -> {
                expect(connection.isValid(5), true);
                connection.setAutoCommit(false);
                run(connection, "SET LOCAL idle_in_transaction_session_timeout TO '50ms'");
                Thread.sleep(1000);
                failure("25P03", () -> value(connection, "SELECT 1"));
                expect(connection.isValid(5), false);
            });
            with(connection -> expect(seen(connection), ITEMS));
        });

        check("metadata shows the tenant's tables", () -> moving(Map.of(), (connection, move) -> {
            String schema = connection.getSchema();
            for (int round = 0; round < 2; round++) {
                List<String> columns = new ArrayList<>();
                try (ResultSet rows = connection.getMetaData().getColumns(null, schema, "loads", null)) {
                    while (rows.next()) columns.add(rows.getString("COLUMN_NAME") + " " + rows.getString("TYPE_NAME"));
                }
                expect(columns, List.of("id int4", "body text"));
                try (ResultSet rows = connection.getMetaData().getTables(null, schema, "orders", new String[] {"TABLE"})) {
                    expect(rows.next(), true);
                }
                try (PreparedStatement statement = connection.prepareStatement("SELECT id, item FROM orders WHERE amount > ?")) {
                    expect(statement.getParameterMetaData().getParameterTypeName(1), "numeric");
                    expect(statement.getMetaData().getColumnTypeName(2), "text");
                    expect(statement.getMetaData().isNullable(2), java.sql.ResultSetMetaData.columnNoNulls); // asks the catalogue
                }
                move.run();
            }
        }));

        check("errors say what PostgreSQL says", () -> {
            for (String mode : List.of("simple", "extended")) {
                with(Map.of("preferQueryMode", mode), connection -> {
                    ServerErrorMessage unknown = said(failure("42703", () -> value(connection, "SELECT items FROM orders WHERE amount > ?", 1)));
                    expect(unknown.getPosition(), 8);
                    expect(unknown.getSeverity(), "ERROR");
                    expect(unknown.getHint().contains("orders.item"), true);
                    expect(unknown.getFile(), "parse_relation.c");
                    ServerErrorMessage missing = said(failure("23502", () -> run(connection, "INSERT INTO orders (item) VALUES ('x')")));
                    expect(List.of(missing.getTable(), missing.getColumn()), List.of("orders", "amount"));
                });
            }
        });

        check("the tenant can not be changed", () -> with(connection -> {
            if (IS_DIRECT) return;
            expect(said(failure("42501", () -> run(connection, "SET app.tenant_id TO 'other'"))).getHint() != null, true);
            failure("42501", () -> value(connection, "SELECT set_config('app.tenant_id', ?, false)", "other"));
            expect(seen(connection), ITEMS);
        }));

        System.exit(0);
    }

    static ServerErrorMessage said(SQLException error) {
        return ((PSQLException) error).getServerErrorMessage();
    }
}
