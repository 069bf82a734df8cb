"""Why a suite can not be run here."""

from __future__ import annotations


class SuiteUnavailable(Exception):
    """Something it needs is not here; the text says what to do."""
