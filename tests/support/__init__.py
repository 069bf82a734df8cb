"""What tests share."""

from __future__ import annotations

from typing import Final

PATIENCE_S: Final = 30.0
"""How long a test waits for what happens at once on an idle machine: that another works on it, too, is no defect."""
