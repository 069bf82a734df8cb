"""A configuration file on disk, for tests of loading."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.settings.loading import load_settings
from proxy.settings.model import Settings
from proxy.settings.problems import InvalidConfiguration

Load = Callable[..., Settings]
Complain = Callable[..., list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a configuration of this text, with this tenants file beside it."""

    def load(text: str, tenants: str | None = None) -> Settings:
        path = tmp_path / "g.yaml"
        path.write_text(text)
        if tenants is not None:
            (tmp_path / "tenants.yaml").write_text(tenants)
        return load_settings(path)

    return load


@pytest.fixture
def complain(load: Load, tmp_path: Path) -> Complain:
    """What is wrong with a configuration: the text without the folder's name, one item per problem."""

    def complain(text: str, tenants: str | None = None) -> list[str]:
        with pytest.raises(InvalidConfiguration) as caught:
            load(text, tenants)
        return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]

    return complain
