"""The kinds of value a setting can have: each reads what people write and holds what programs use.

From a file, a duration must be text with a unit. In Python, numbers are seconds and bytes, so that tests and
other code can build settings by attribute name: `PoolSettings(wait_timeout_s=0.2)`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    AliasGenerator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    ValidationInfo,
    WithJsonSchema,
)

from proxy.settings import names, units
from proxy.settings.hosts import HostPort, parse_host_port, validate_host
from proxy.settings.paths import FromFile

# PostgreSQL's limit for a timeout: INT_MAX milliseconds.
MAX_TIMEOUT_S: Final = 2_147_483.0
MAX_NUMBER: Final = 2_147_483_647
"""What fits in a C int, which is what the kernel takes a backlog as."""
MAX_KEEPALIVE_S: Final = 32_767.0
"""Linux's MAX_TCP_KEEPIDLE and MAX_TCP_KEEPINTVL."""


def yaml_key(attribute: str) -> str:
    """The key for an attribute: its name without the unit, because the value brings its own."""
    if attribute.endswith("_bytes"):
        return attribute.removesuffix("_bytes") + "_size"
    return attribute.removesuffix("_s")


class Section(BaseModel):
    """A group of settings: frozen, and unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=False,
        validate_by_name=True,
        validate_by_alias=True,
        alias_generator=AliasGenerator(validation_alias=yaml_key, serialization_alias=yaml_key),
    )


def _read_timeout(value: Any, info: ValidationInfo) -> float:
    return 0.0 if _is_zero(value) else _read_seconds(value, info, units.parse_timeout, units.TIMEOUT_HINT)


def _read_duration(value: Any, info: ValidationInfo) -> float:
    seconds = _read_seconds(value, info, units.parse_duration, units.DURATION_HINT)
    if seconds <= 0:
        raise names.Invalid("the duration must be longer than 0", units.DURATION_HINT)
    return seconds


def _read_seconds(value: Any, info: ValidationInfo, parse: Any, hint: str) -> float:
    if isinstance(value, str):
        return float(parse(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise names.Invalid("this is not a duration", hint)
    if isinstance(info.context, FromFile):
        raise names.Invalid(f"the duration {value} has no unit", hint)
    if not 0 <= value < 1e9:
        raise names.Invalid(f"the duration {value} is out of range", hint)
    return float(value)


def _is_zero(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and value == 0


def _within_postgres(seconds: float) -> float:
    if seconds > MAX_TIMEOUT_S:
        raise names.Invalid("PostgreSQL allows no timeout longer than 2147483s (24 days)", units.TIMEOUT_HINT)
    return seconds


def _within_kernel(seconds: float) -> float:
    if seconds > MAX_KEEPALIVE_S:
        raise names.Invalid("the kernel allows no more than 32767s (9 hours)", units.DURATION_HINT)
    return seconds


def _read_size(value: Any) -> int:
    if isinstance(value, str):
        return units.parse_size(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise names.Invalid("this is not a size", units.SIZE_HINT)
    return value


def _read_host(value: Any) -> HostPort:
    if isinstance(value, HostPort):
        return value
    if not isinstance(value, str):
        raise names.Invalid("this is not the address of a server", "Write host:port, for example 127.0.0.1:5432.")
    return parse_host_port(value)


def _read_setting_value(value: Any) -> Any:
    # YAML gives 1.1 and true as other types; PostgreSQL wants text.
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value) if isinstance(value, int | float) else value


def _one_or_many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _read_tenants(value: Any) -> Any:
    if value == "*":
        return "*"
    if not isinstance(value, list | tuple) or not all(isinstance(tenant, str) for tenant in value):
        raise names.Invalid('expected "*" or a list of tenant ids', 'Write "*" for all tenants; quote ids of digits.')
    if "*" in value:
        raise names.Invalid('"*" is not a tenant', 'Write tenants: "*", without the list, for all tenants.')
    if not value:
        raise names.Invalid("the list of tenants is empty", 'Name the tenants, or write "*" for all.')
    return tuple(names.validate_tenant_id(tenant) for tenant in value)


def _check_mode(mode: str) -> str:
    if re.fullmatch("0?o?[0-7]{3}", mode) is None:
        raise names.Invalid(f'"{mode[:20]}" is not a file mode', "Write three octal digits, for example 0770.")
    return mode


def available(*values: str, planned: tuple[str, ...]) -> BeforeValidator:
    """Only `values` can be chosen for now; `planned` ones get a text that says so."""

    def check(value: Any) -> Any:
        if value in planned:
            raise names.Invalid(f"{value} is not available yet", f"Use {' or '.join(values)}.")
        return value

    return BeforeValidator(check)


_DURATION_TEXT: Final = r"^[0-9]+(\.[0-9]+)? ?(ms|s|m|h|d)$"
_duration_schema = WithJsonSchema({"type": "string", "pattern": _DURATION_TEXT, "examples": ["15s"]})
_timeout_schema = WithJsonSchema(
    {"anyOf": [{"type": "string", "pattern": _DURATION_TEXT}, {"enum": [0, "off"]}], "examples": ["15s", "off"]}
)
_size_schema = WithJsonSchema(
    {"anyOf": [{"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?([kKmMgGtT]?[bB])$"}, {"type": "integer"}]}
)
_write_duration = PlainSerializer(units.format_duration, when_used="json")

Duration = Annotated[float, BeforeValidator(_read_duration), _write_duration, _duration_schema]
"""Seconds, more than 0."""
Timeout = Annotated[float, BeforeValidator(_read_timeout), _write_duration, _timeout_schema]
"""Seconds; 0.0 is no limit."""
ServerTimeout = Annotated[Timeout, AfterValidator(_within_postgres)]
"""Seconds of a timeout that PostgreSQL itself enforces."""
KeepaliveTime = Annotated[Duration, AfterValidator(_within_kernel)]
"""Seconds between probes of TCP keepalive."""
Size = Annotated[int, BeforeValidator(_read_size), PlainSerializer(units.format_size, when_used="json"), _size_schema]
"""Bytes."""

MessageSize = Annotated[Size, Field(ge=1024, le=1_073_741_823)]
"""Bytes of a message; PostgreSQL itself takes none longer than 1 GB."""

Mode = Literal["transaction", "session", "statement"]
"""For how long a client keeps the server connection it is lent."""
Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict(), Field(ge=0, le=MAX_NUMBER)]
Limit = Annotated[int, Strict(), Field(ge=1, le=MAX_NUMBER)]
Port = Annotated[int, Strict(), Field(ge=1, le=65535)]
Workers = Annotated[int, Strict(), Field(ge=1, le=256)]
Probes = Annotated[int, Strict(), Field(ge=1, le=127)]
"""As many as Linux's MAX_TCP_KEEPCNT."""

FileMode = Annotated[str, AfterValidator(_check_mode)]
"""Permissions, octal: `int(mode, 8)`."""
TenantId = Annotated[str, AfterValidator(names.validate_tenant_id)]
Identifier = Annotated[str, AfterValidator(names.validate_identifier)]
RoleName = Annotated[str, AfterValidator(names.validate_role)]
Label = Annotated[str, AfterValidator(names.validate_label)]
Login = Annotated[str, AfterValidator(names.validate_login)]
SettingName = Annotated[str, AfterValidator(names.validate_setting_name)]
CustomSetting = Annotated[str, AfterValidator(names.validate_custom_setting)]
SettingValue = Annotated[str, BeforeValidator(_read_setting_value), AfterValidator(names.validate_setting_value)]
CustomSettings = Annotated[
    tuple[CustomSetting, ...],
    BeforeValidator(_one_or_many),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]
HostName = Annotated[str, AfterValidator(validate_host)]
SocketFolder = Annotated[str, AfterValidator(names.validate_path)]
Address = Annotated[
    HostPort,
    BeforeValidator(_read_host),
    PlainSerializer(str, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["127.0.0.1:5432"]}),
]
TenantList = Annotated[
    Literal["*"] | tuple[str, ...],
    BeforeValidator(_read_tenants),
    WithJsonSchema({"anyOf": [{"const": "*"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]
