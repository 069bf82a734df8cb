"""Paths in a configuration file are relative to that file, not to wherever the proxy was started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, PlainSerializer, ValidationInfo

from proxy.settings.names import validate_path


@dataclass(frozen=True, slots=True)
class FromFile:
    """Validation context: the values come from a file in the directory `base`, so numbers need units."""

    base: Path


def _anchor(path: Path, info: ValidationInfo) -> Path:
    validate_path(str(path))
    return info.context.base / path if isinstance(info.context, FromFile) else path


ConfigPath = Annotated[Path, AfterValidator(_anchor), PlainSerializer(str, when_used="json")]
