import java.sql.SQLException;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;

/** Runs named checks and prints a line of JSON for each. */
class Harness {
    static final int TIMEOUT_S = 40;
    static final List<String> ITEMS = items(System.getenv("ITEMS"));
    static final boolean IS_DIRECT = "directly".equals(System.getenv("WAY"));
    static final boolean HAS_ONE_SERVER = "one server".equals(System.getenv("WAY"));

    /** Where tenants share a database, LISTEN is refused unless it is configured, as it is for few servers. */
    static final boolean MAY_LISTEN = !HAS_ONE_SERVER || "initech".equals(System.getenv("TENANT"));

    private static final ExecutorService THREADS =
            Executors.newCachedThreadPool(
                    body -> {
                        Thread thread = new Thread(body);
                        thread.setDaemon(true);
                        return thread;
                    });

    interface Body {
        void run() throws Exception;
    }

    interface Work<T> {
        T run() throws Exception;
    }

    /** A check that hangs is the last: what it holds would be in the way of the others. */
    static void check(String name, Body body) throws InterruptedException {
        Future<Void> done = inBackground(() -> { body.run(); return null; });
        try {
            done.get(TIMEOUT_S, TimeUnit.SECONDS);
            report(name, "");
        } catch (ExecutionException failure) {
            Throwable cause = failure.getCause();
            StringBuilder text = new StringBuilder(cause.toString());
            Arrays.stream(cause.getStackTrace())
                    .filter(frame -> frame.getClassName().matches("(Checks|Harness).*"))
                    .forEach(frame -> text.append("\n    at ").append(frame));
            report(name, text.toString());
        } catch (TimeoutException hangs) {
            report(name, "not finished after " + TIMEOUT_S + " s");
            System.exit(1);
        }
    }

    static <T> Future<T> inBackground(Work<T> work) {
        return THREADS.submit(work::run);
    }

    static void expect(Object actual, Object expected) {
        if (!Objects.deepEquals(actual, expected)) {
            throw new AssertionError("got " + text(actual) + ", expected " + text(expected));
        }
    }

    /** The error that `body` ends with; it must have this SQLSTATE. */
    static SQLException failure(String sqlstate, Body body) throws Exception {
        try {
            body.run();
        } catch (SQLException error) {
            if (!sqlstate.equals(error.getSQLState())) {
                throw new AssertionError("got " + error.getSQLState() + " (" + error + "), expected " + sqlstate);
            }
            return error;
        }
        throw new AssertionError("nothing failed, expected " + sqlstate);
    }

    private static String text(Object value) {
        return value instanceof Object[] array ? Arrays.deepToString(array) : String.valueOf(value);
    }

    private static void report(String name, String problem) {
        String detail = problem.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n").replace("\t", " ");
        System.out.printf("{\"check\": \"%s\", \"ok\": %s, \"detail\": \"%s\"}%n", name, problem.isEmpty(), detail);
    }

    /** The strings of a list in JSON, sorted; they hold no quotes. */
    private static List<String> items(String json) {
        return Pattern.compile("\"([^\"]*)\"").matcher(json).results().map((MatchResult found) -> found.group(1)).sorted().toList();
    }
}
