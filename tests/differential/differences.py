"""Where a client can tell Gatehouse from PostgreSQL, and why; `docs/differences.md` is made from this.

Run `python -m tests.differential.differences > docs/differences.md` after a change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: what a client sees, and why it has to be so."""

    title: str
    seen: str
    reason: str


DIFFERENCES: Final = {
    "tenant settings": Difference(
        "The tenant's context can not be changed",
        "SET, RESET, SET LOCAL and set_config of the tenant setting, of `role` and `session_authorization`, and in a schema "
        "placement of `search_path` beyond the tenant's own and the shared schemas, give 42501 with a hint. So do ALTER ROLE "
        "and ALTER DATABASE … SET.",
        "They decide whose data is seen.",
    ),
    "no block": Difference(
        "VACUUM and its like need a database of their own",
        "Statements that refuse a transaction block (VACUUM, CREATE INDEX CONCURRENTLY, ALTER SYSTEM, …) and function calls "
        "by protocol message outside a transaction give 0A000 with a hint in the shared and schema placements.",
        "They can not run behind the context, and without it they are not the tenant's.",
    ),
    "query without sync": Difference(
        "A Query behind extended messages without Sync",
        "Gatehouse ends the messages with a Sync of its own first. PostgreSQL 18 leaves the transaction open and loses it.",
        "An acknowledged INSERT would be lost.",
    ),
    "encodings": Difference(
        "Encodings and strings that can not be read safely",
        "client_encoding SJIS, BIG5, GBK, GB18030, UHC, JOHAB and SHIFT_JIS_2004, and standard_conforming_strings = off, "
        "give 0A000.",
        "In these, a byte that looks like a quote or a backslash may be half a character: text could not be judged.",
    ),
    "session state": Difference(
        "What belongs to a session keeps its server",
        "LISTEN, temporary tables, session advisory locks, WITH HOLD cursors and SQL PREPARE tie the server to the client "
        "until PostgreSQL says that nothing is left of them, up to the tier's max_pinned (then 53300); a tier can refuse them "
        "(0A000). In session pooling a client has its server anyway.",
        "They live on the server, not in a setting.",
    ),
    "shared names": Difference(
        "NOTIFY, LISTEN and advisory locks on a database that tenants share",
        "Give 0A000 in the shared and schema placements, unless the tier says cross_tenant_channels: allow.",
        "Channels and keys are those of the database: other tenants would hear, and wait for, each other.",
    ),
    "other sessions": Difference(
        "pg_stat_activity and its kin on a database that tenants share",
        "pg_stat_activity, pg_stat_statements and pg_prepared_statements, the functions under them, pg_terminate_backend and "
        "pg_cancel_backend give 42501 in the shared and schema placements, unless the tier says cross_tenant_sessions: allow.",
        "All tenants come with one login, so each could read the constants in the others' statements, and end their sessions; "
        "and the pid of a server that the client had a moment ago may be another's now.",
    ),
    "sequences": Difference(
        "currval() and lastval() in a transaction of their own",
        "Give 0A000 with a hint, but in session pooling. In the transaction that called nextval() they work.",
        "On another server connection they would fail, or tell what another client of the tenant got.",
    ),
    "deferred begin": Difference(
        "A plain BEGIN is answered at once and sent with the first statement",
        "now() is the time of that statement, not of BEGIN; a transaction without statements never reaches PostgreSQL. If the "
        "first statement is a Query that can not be read, or one that is refused, the transaction has failed as ever, and "
        "whatever comes before its end gives 25P02: what PostgreSQL finds to be another error, and COMMIT AND CHAIN.",
        "It saves a round trip, and no server is held while the client thinks. pool.defer_begin: false turns it off.",
    ),
    "failed block": Difference(
        "In a transaction that has failed",
        "A prepared statement that the server would have to be given first gives 25P02, where PostgreSQL describes one that has no "
        "result, or finds fault with its parameters.",
        "PostgreSQL takes no Parse then.",
    ),
    "portals in doubt": Difference(
        "A portal whose name was bound or closed in a batch that failed",
        "Does not exist any more (34000) until it is bound again; in PostgreSQL one that was there before a savepoint may.",
        "Whether PostgreSQL came as far as that Bind or Close decides what it would run, and a COMMIT must not be taken for "
        "something else.",
    ),
    "prepared before a change": Difference(
        "Statements prepared before a table changed",
        'Where PostgreSQL says "cached plan must not change result type", Gatehouse prepares the statement again if nothing '
        "has run and the client describes what it gets; else the client gets that error, as from PostgreSQL. It can get it, "
        "too, in the middle of a batch on a server that has never seen the statement; where nobody changed the table through "
        "Gatehouse, and nobody has met the change yet, the connection ends with it. A parameter of which the client neither gave "
        "nor was told the type may get that of the changed column. A statement whose names are not found any more, be it by another "
        "search_path, gives 42P01 also where PostgreSQL describes one without result, or counts the parameters first.",
        "The columns that the client was told must be those that it gets.",
    ),
    "constants": Difference(
        "Constants of a prepared statement",
        "A date, time or interval in a statement's text is read by the settings that the client has when a server is first "
        "given the statement, most often those at its Parse. 'now' and its like stand for that moment. Where client_encoding is "
        "another by then, a text with characters beyond ASCII gives 0A000: prepare it again.",
        "A server parses a statement when it first needs it. Statements are shared among clients only where such settings, "
        "and the database, are the same.",
    ),
    "encoding of values": Difference(
        "client_encoding under settings with characters beyond ASCII",
        "Can not be changed (0A000) until those are RESET.",
        "Each transaction carries the client's settings, as the bytes in which they were given.",
    ),
    "small words": Difference(
        "Warnings and names that differ",
        "client_min_messages does not hold for the warnings of BEGIN and COMMIT themselves; SET CONSTRAINTS outside a block "
        "gives no 25P01 warning; an error about a Bind's parameters names a prepared statement as servers know it.",
        "These go without the context, behind it, and under a name that is shared.",
    ),
    "statement mode": Difference(
        "Statement pooling",
        "With pool.mode: statement, BEGIN and SAVEPOINT give 0A000.",
        "That is what statement pooling is.",
    ),
    "one server per transaction": Difference(
        "Consecutive transactions may run on different servers",
        "pg_backend_pid() changes between transactions. LOAD, and settings that a DO block or a function in SELECT changes, end "
        "with the transaction; those changed where no text shows it (a trigger, a default, a view) may be met by later "
        "transactions of the same tenant, never of another.",
        "That is what transaction pooling is.",
    ),
    "login": Difference(
        "The role is Gatehouse's",
        "current_user and session_user are the cluster's login (or the tenant's role), session_authorization is reported so; "
        "pg_prepared_statements lists statements under Gatehouse's names; pg_stat_activity shows all of the login's sessions.",
        "Servers are shared by all users of a tenant's database.",
    ),
    "procedures": Difference(
        "COMMIT inside CALL and DO",
        "A procedure or DO block that ends its transaction gives 2D000: sent as a Query always, by the extended protocol from "
        "PostgreSQL 18 on.",
        "The context in front makes it an implicit transaction block.",
    ),
    "lost server": Difference(
        "A server that is lost",
        "The client gets PostgreSQL's own farewell (57P01 and the like), or FATAL 08006, and only if it was in a "
        "transaction; clients between transactions notice nothing. In the middle of a row, or of a message of COPY, the "
        "connection ends without a word, as where PostgreSQL itself has to leave then.",
        "Gatehouse never repeats what may have run.",
    ),
    "startup": Difference(
        "Kinds of connections",
        "Replication connections are refused (0A000); GSSAPI encryption is declined; TLS is negotiated by SSLRequest, not "
        "directly. The database name in the DSN is not used: the tenant decides.",
        "The tenant's placement says where it lives.",
    ),
    "batches": Difference(
        "Two orders within one batch of extended messages",
        "BEGIN ISOLATION LEVEL … and SET TRANSACTION behind another statement of the same batch (no Sync between) give "
        "25001, even where that statement takes no snapshot; a statement name that DEALLOCATE takes away can be used to "
        "the end of its batch.",
        "The context, which takes a snapshot, stands in front of the first statement; DEALLOCATE counts when it is answered.",
    ),
    "defaults in a string": Difference(
        "default_transaction_* in a string of several transactions",
        "A change of default_transaction_isolation, _read_only or _deferrable counts from the next Query on, not from a "
        "COMMIT inside the same string.",
        "These must hold before a transaction starts, so a server's session follows the client's between Queries.",
    ),
    "application name": Difference(
        "application_name of a client that gives none",
        "It is `gatehouse`, not empty.",
        "So operators see in pg_stat_activity whose connection it is.",
    ),
    "row security copy": Difference(
        "COPY FROM into tables with row-level security",
        "Gives PostgreSQL's own 0A000: it does not support this. Use INSERT.",
        "The shared placement stands on row-level security.",
    ),
}


def document() -> str:
    """The text of docs/differences.md."""
    lines = [
        "# Where a client can tell Gatehouse from PostgreSQL",
        "",
        "Everything else is the same, message by message: `tests/differential` plays several hundred scripts against",
        "PostgreSQL directly and through Gatehouse, in each placement, and compares what a client sees. This page is made",
        "from its list of exceptions.",
    ]
    for difference in DIFFERENCES.values():
        lines += ["", f"## {difference.title}", "", difference.seen, "", f"*Why:* {difference.reason}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(document(), end="")
