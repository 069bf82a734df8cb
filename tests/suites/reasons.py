"""Why a test that passes directly does not pass through Gatehouse, where the reason is known and stays."""

from __future__ import annotations

from typing import Final

REASONS: Final = {
    "client/appname-tests.js": "it expects an empty application_name where the client gives none; Gatehouse's is `gatehouse`",
    "client/query-error-handling-tests.js": (
        "it looks for the exact text of its query in pg_stat_activity, where the tenant's `SET LOCAL` stands in front of it"
    ),
    "connection-pool/error-tests.js": (
        "it ends all idle sessions and expects an idle client to hear of it; between transactions a client has no server"
    ),
    "gh-issues/130-tests.js": (
        "it ends the session of a client from a second client, which may have been given that very session"
    ),
}
"""By the test's name; the same wherever it occurs."""
