"""Walk the model as a file sees it: which keys a section has, and what is behind each."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from proxy.settings.model import Settings
from proxy.settings.secret import Secret
from proxy.settings.types import yaml_key

_KINDS: Final = {
    "string": "text",
    "integer": "number",
    "number": "number",
    "boolean": "true or false",
    "array": "list",
    "object": "mapping",
}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a section. `section` is the class behind it, if any; `is_named` if the user's own names lead to it."""

    name: str
    field: FieldInfo
    section: type[Any] | None
    is_named: bool

    @property
    def is_required(self) -> bool:
        """Must the key be given?"""
        return self.field.is_required()

    def default(self) -> Any:
        """The default as it would be written in the file."""
        value = self.field.get_default(call_default_factory=True, validated_data={})
        return TypeAdapter(annotation(self.field)).dump_python(value, mode="json", by_alias=True)

    def kind(self) -> str:
        """What is written there, in the words of the reference: `duration`, `size`, `a, b or c` …"""
        if self.section is not None:
            return "secret" if self.section is Secret else "mapping"
        schema = TypeAdapter(annotation(self.field)).json_schema()
        kinds = [_kind(part) for part in _alternatives(schema)]
        if "off" in kinds:
            return "timeout"
        return "size" if "size" in kinds else " or ".join(dict.fromkeys(kinds))


def keys(section: type[Any]) -> dict[str, Key]:
    """The keys of a section, in the model's order."""
    found: Mapping[str, FieldInfo] = (
        section.model_fields if issubclass(section, BaseModel) else section.__pydantic_fields__
    )
    return {key.name: key for key in (_key(name, field) for name, field in found.items())}


def known_keys(path: Sequence[str | int]) -> list[str]:
    """The keys that are good at `path` of a configuration file; none where any name or only a value is."""
    section: type[Any] | None = Settings
    is_name_next = False
    for step in path:
        if is_name_next:
            is_name_next = False
            continue
        key = keys(section).get(str(step)) if section is not None else None
        if key is None:
            return []
        section, is_name_next = key.section, key.is_named
    return [] if section is None or is_name_next else list(keys(section))


def annotation(field: FieldInfo) -> Any:
    """A field's type with the markers pydantic took off it."""
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def _key(attribute: str, field: FieldInfo) -> Key:
    name = field.validation_alias if isinstance(field.validation_alias, str) else yaml_key(attribute)
    section, is_named = _section(field.annotation)
    return Key(name, field, section, is_named)


def _section(tp: Any) -> tuple[type[Any] | None, bool]:
    origin = get_origin(tp)
    if origin is Annotated:
        return _section(get_args(tp)[0])
    if origin in (Union, types.UnionType):
        return next((found for found in map(_section, get_args(tp)) if found[0]), (None, False))
    if origin is dict:
        section, _ = _section(get_args(tp)[1])
        return section, section is not None
    if isinstance(tp, type) and hasattr(tp, "__pydantic_fields__"):
        return tp, False
    return None, False


def _alternatives(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The schema's parts that are not null."""
    if "anyOf" not in schema:
        return [schema]
    return [inner for part in schema["anyOf"] for inner in _alternatives(part) if part.get("type") != "null"]


def _kind(schema: dict[str, Any]) -> str:
    match schema:
        case {"enum": [0, "off"]}:
            return "off"
        case {"enum": [*others, last]}:
            return f"{', '.join(map(str, others))} or {last}"
        case {"const": only}:
            return f'"{only}"' if only == "*" else str(only)
        case {"pattern": str(pattern)}:
            return "size" if "bB" in pattern else "duration"
        case {"format": "path"}:
            return "path"
        case {"type": str(name)}:
            return _KINDS[name]
    raise AssertionError(f"a field of a kind the reference has no word for: {schema}")
