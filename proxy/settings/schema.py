"""The JSON Schema of the configuration, for editors: completion, and red lines before a reload does it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy.settings.fields import keys
from proxy.settings.model import Settings


def json_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of a configuration file, with descriptions and defaults as YAML would have them."""
    schema = Settings.model_json_schema(by_alias=True)
    for section in _sections(Settings):
        properties = (schema if section is Settings else schema["$defs"][section.__name__])["properties"]
        for name, key in keys(section).items():
            if not key.is_required:
                properties[name]["default"] = key.default()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def _sections(section: type[Any]) -> Iterator[type[Any]]:
    yield section
    for key in keys(section).values():
        if key.section is not None:
            yield from _sections(key.section)
