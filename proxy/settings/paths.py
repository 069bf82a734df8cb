"""Paths in a configuration file are relative to that file, not to wherever the proxy was started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, PlainSerializer, ValidationInfo


@dataclass(frozen=True, slots=True)
class FromFile:
    """Validation context: the values come from a file in the directory `base`, so numbers need units."""

    base: Path


def _anchor(path: Path, info: ValidationInfo) -> Path:
    return info.context.base / path if isinstance(info.context, FromFile) else path


ConfigPath = Annotated[Path, AfterValidator(_anchor), PlainSerializer(str, when_used="json")]
