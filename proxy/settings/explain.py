"""Say in the words of a configuration file what pydantic found wrong with a value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import ErrorDetails

from proxy.settings.fields import known_keys
from proxy.settings.masking import reads_like_secret
from proxy.settings.names import Invalid
from proxy.settings.secret import WHERE_HINT
from proxy.settings.yaml_tree import KeyPath

_PLANNED: Final = {("jwt",): "logins by token are not available yet"}
_PLAIN: Final = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "string_type": "text",
    "path_type": "a path",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dataclass_type": "a mapping",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong at a path; `at_key` when it is the key, not the value."""

    path: KeyPath
    message: str
    hint: str | None = None
    at_key: bool = False


def explain(errors: Iterable[ErrorDetails]) -> list[Finding]:
    """One finding per error, leaving out those that only follow from another."""
    found = list(errors)
    paths = {error["loc"] for error in found}
    return [
        _finding(error)
        for error in found
        # A list whose only item is bad is also reported as too short.
        if not (error["type"] == "too_short" and any(p[:-1] == error["loc"] and p != error["loc"] for p in paths))
    ]


def suggest(word: str, candidates: Iterable[str]) -> str | None:
    """A hint with the candidate that `word` was probably meant to be, or what there is when there are few."""
    names = list(candidates)
    close = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    if close:
        return f'Did you mean "{close[0]}"?'
    if not 0 < len(names) <= 12:
        return None
    *others, last = sorted(names)
    return f"There are {', '.join(others)} and {last}." if others else f"There is only {last}."


def _finding(error: ErrorDetails) -> Finding:
    path, kind = tuple(error["loc"]), error["type"]
    if path and path[-1] == "[key]":
        return Finding(path[:-1], *_invalid(error), at_key=True)
    match kind:
        case "extra_forbidden" | "unexpected_keyword_argument":
            return _unknown_key(path, error["input"])
        case "missing":
            return Finding(path[:-1], f'"{path[-1]}" is missing', at_key=True)
        case "value_error":
            return Finding(path, *_invalid(error))
    return Finding(path, _value_message(path, error), _value_hint(error))


def _invalid(error: ErrorDetails) -> tuple[str, str | None]:
    cause = error.get("ctx", {}).get("error")
    return (str(cause), cause.hint) if isinstance(cause, Invalid) else (_text(error["msg"]), None)


def _unknown_key(path: KeyPath, value: Any) -> Finding:
    word = str(path[-1])
    if len(path) == 1 and isinstance(value, dict) and "placement" in value:
        hint = "A tenant stands below tenants, or in the file that tenants_file names."
        return Finding(path, f'unknown key "{word[:64]}"', hint, at_key=True)
    if path in _PLANNED:
        return Finding(path, f'"{word}" is unknown: {_PLANNED[path]}', at_key=True)
    if _is_in_secret(path[:-1]):
        # The key itself may be a password, as in `password: {hunter2}`.
        return Finding(path, "this is not a place for a secret", WHERE_HINT, at_key=True)
    return Finding(path, f'unknown key "{word[:64]}"', suggest(word, known_keys(path[:-1])), at_key=True)


def _value_message(path: KeyPath, error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind in _PLAIN:
        return f"expected {_PLAIN[kind]}{_but_found(path, error['input'])}"
    match kind:
        case "literal_error":
            choices = str(context["expected"]).replace("'", "")
            return f"expected {choices}{_but_found(path, error['input'])}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "less_than":
            return f"must be less than {context['lt']}"
        case "too_short" | "string_too_short":
            return "must not be empty"
    return _text(error["msg"])


def _value_hint(error: ErrorDetails) -> str | None:
    value = error["input"]
    if error["type"] == "string_type" and isinstance(value, bool | int | float):
        return "Quote it."
    if error["type"] == "tuple_type" and isinstance(value, str):
        return "Put it in brackets: […]."
    if error["type"] == "bool_type" and value in ("yes", "no", "on", "off"):
        return f"Write {'true' if value in ('yes', 'on') else 'false'}."
    if error["type"] == "literal_error" and isinstance(value, str):
        choices = [choice.strip("'") for choice in error["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        close = difflib.get_close_matches(value.lower(), choices, n=1, cutoff=0.6)
        return f'Did you mean "{close[0]}"?' if close else None
    return None


def _but_found(path: KeyPath, value: Any) -> str:
    if _is_in_secret(path):
        return ""
    if value is None:
        return ", found nothing"
    if isinstance(value, bool):
        return f", found {str(value).lower()}"
    if isinstance(value, dict):
        return ", found a mapping"
    if isinstance(value, list):
        return ", found a list"
    return f', found "{value[:40]}"' if isinstance(value, str) else f", found {value}"


def _is_in_secret(path: KeyPath) -> bool:
    # The second step is a name the user chose, such as a tenant called token-shop.
    return any(reads_like_secret(str(step)) for step in path[:1] + path[2:])


def _text(message: str) -> str:
    return message[:1].lower() + message[1:]
