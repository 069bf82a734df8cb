"""The written reference and the full example are what the program would write."""

from __future__ import annotations

from pathlib import Path

from proxy.settings.loading import load_settings
from proxy.settings.model import Settings
from proxy.settings.reference import REGENERATE, full_example, main, markdown

ROOT = Path(__file__).parents[3]
HOW = f"out of step with the model; run: {REGENERATE}"


def test_the_reference_is_in_step_with_the_model() -> None:
    assert (ROOT / "docs/configuration.md").read_text(encoding="utf-8") == markdown(), HOW


def test_the_full_example_is_in_step_with_the_model() -> None:
    assert (ROOT / "config/full.yaml").read_text(encoding="utf-8") == full_example(), HOW


def test_the_full_example_holds_the_defaults(tmp_path: Path) -> None:
    main([str(tmp_path / "reference.md"), str(tmp_path / "full.yaml")])
    full, default = load_settings(tmp_path / "full.yaml"), Settings()
    for name in ("listen", "http", "tls", "pool", "context", "tiers", "limits", "timeouts", "registry", "log"):
        assert getattr(full, name) == getattr(default, name)
