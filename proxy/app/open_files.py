"""How many files, and so connections, the process may have open."""

from __future__ import annotations

import sys


def raise_file_limit(wanted: int) -> int:
    """Raise the soft limit as far towards `wanted` as the hard one allows; what it is now.

    It is often 1024 for the sake of programs that use select(), which this one does not.
    """
    if sys.platform == "win32":
        return wanted
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    reachable = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
    except (OSError, ValueError):  # macOS has a limit below the one it names
        return soft
    return reachable
