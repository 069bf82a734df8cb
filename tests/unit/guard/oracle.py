"""PostgreSQL's own lexer and grammar, through postgast, in the guard's terms.

Its lexer differs from PostgreSQL's in one thing: it has tokens for comments, so a string does not go on behind a comment.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from proxy.guard.model import StatementKind as Kind

# Not imported by name: its type stubs are no valid Python.
postgast: Any = import_module("postgast")
pb: Any = import_module("postgast.pg_query_pb2")

_COMMENTS = (275, 276)
_TRANSACTIONS = {
    pb.TRANS_STMT_BEGIN: Kind.BEGIN,
    pb.TRANS_STMT_START: Kind.BEGIN,
    pb.TRANS_STMT_COMMIT: Kind.COMMIT,
    pb.TRANS_STMT_ROLLBACK: Kind.ROLLBACK,
    pb.TRANS_STMT_SAVEPOINT: Kind.SAVEPOINT,
    pb.TRANS_STMT_RELEASE: Kind.RELEASE,
    pb.TRANS_STMT_ROLLBACK_TO: Kind.ROLLBACK_TO,
    pb.TRANS_STMT_PREPARE: Kind.PREPARE_TRANSACTION,
    pb.TRANS_STMT_COMMIT_PREPARED: Kind.NO_BLOCK,
    pb.TRANS_STMT_ROLLBACK_PREPARED: Kind.NO_BLOCK,
}
_CHAINED = {Kind.COMMIT: Kind.COMMIT_CHAIN, Kind.ROLLBACK: Kind.ROLLBACK_CHAIN}
_BY_NODE = {
    "variable_show_stmt": Kind.SHOW,
    "listen_stmt": Kind.LISTEN,
    "unlisten_stmt": Kind.UNLISTEN,
    "notify_stmt": Kind.NOTIFY,
    "declare_cursor_stmt": Kind.DECLARE,
    "close_portal_stmt": Kind.CLOSE_CURSOR,
    "copy_stmt": Kind.COPY,
    "prepare_stmt": Kind.SQL_PREPARE,
    "execute_stmt": Kind.SQL_EXECUTE,
    "deallocate_stmt": Kind.DEALLOCATE,
    "createdb_stmt": Kind.NO_BLOCK,
    "dropdb_stmt": Kind.NO_BLOCK,
    "create_table_space_stmt": Kind.NO_BLOCK,
    "drop_table_space_stmt": Kind.NO_BLOCK,
    "alter_system_stmt": Kind.NO_BLOCK,
    "create_subscription_stmt": Kind.NO_BLOCK,
    "drop_subscription_stmt": Kind.NO_BLOCK,
}


@dataclass(frozen=True)
class Parsed:
    """One statement as PostgreSQL's grammar sees it; the span may have blanks and comments around it."""

    start: int
    end: int
    kind: int
    node: Any


def tokens(text: str) -> list[tuple[int, int]] | None:
    """The byte spans of all tokens, or None when PostgreSQL refuses the text."""
    try:
        scanned = postgast.scan(text).tokens
    except postgast.PgQueryError:
        return None
    encoded = text.encode()
    spans: list[tuple[int, int]] = []
    merged: set[tuple[int, int]] = set()
    for token in scanned:
        if token.token in _COMMENTS:
            continue
        spans.append((token.start, token.end))
        last = [encoded[start:end].lower() for start, end in spans[-3:]]
        # To the grammar U&'…' UESCAPE '!' is one token, and so it is to the guard.
        if (
            len(last) == 3
            and last[0].startswith(b"u&")
            and last[0][-1:] in b"'\""
            and last[1] == b"uescape"
            and spans[-3] not in merged
        ):
            spans[-3:] = [(spans[-3][0], spans[-1][1])]
            merged.add(spans[-1])
    return spans


def parse(text: str) -> list[Parsed] | None:
    """The statements, or None when PostgreSQL refuses the text."""
    try:
        tree = postgast.parse(text)
    except postgast.PgQueryError:
        return None
    size = len(text.encode())
    found = []
    for raw in tree.stmts:
        start = raw.stmt_location
        node_name = raw.stmt.WhichOneof("node")
        node = getattr(raw.stmt, node_name)
        found.append(Parsed(start, start + raw.stmt_len if raw.stmt_len else size, _kind(node_name, node), node))
    return found


def _kind(name: str, node: Any) -> int:
    if name == "transaction_stmt":
        kind = _TRANSACTIONS[node.kind]
        return _CHAINED[kind] if node.chain else kind
    if name == "variable_set_stmt":
        return _set_kind(node)
    if name == "discard_stmt":
        return Kind.DISCARD_ALL if node.target == pb.DISCARD_ALL else Kind.DISCARD
    if name == "vacuum_stmt":
        return Kind.NO_BLOCK if node.is_vacuumcmd else Kind.ORDINARY
    if name == "index_stmt":
        return Kind.NO_BLOCK if node.concurrent else Kind.ORDINARY
    if name == "drop_stmt":
        return Kind.NO_BLOCK if node.concurrent else Kind.ORDINARY
    return _BY_NODE.get(name, Kind.ORDINARY)


def _set_kind(node: Any) -> int:
    if node.kind == pb.VAR_RESET_ALL:
        return Kind.RESET_ALL
    if node.kind == pb.VAR_SET_MULTI:
        return Kind.SET_CHARACTERISTICS if node.name == "SESSION CHARACTERISTICS" else Kind.SET_TRANSACTION
    if node.kind == pb.VAR_RESET:
        return Kind.RESET
    return Kind.SET


def set_values(node: Any) -> tuple[str, ...] | None:
    """The value of a VariableSetStmt as flatten_set_variable_args reads its parts; None for a default."""
    if not node.args:
        return None
    return tuple(_constant(arg.a_const) for arg in node.args)


def _constant(constant: Any) -> str:
    which = constant.WhichOneof("val")
    if which == "ival":
        return str(constant.ival.ival)
    if which == "fval":
        return str(constant.fval.fval)
    return str(constant.sval.sval)


def function_calls(node: Any) -> list[tuple[str, ...]]:
    """The dotted names of all functions that a statement calls in so many words."""
    return [
        tuple(part.string.sval for part in call.funcname)
        for call in postgast.find_nodes(node, pb.FuncCall)
        if call.funcformat == pb.COERCE_EXPLICIT_CALL
    ]
