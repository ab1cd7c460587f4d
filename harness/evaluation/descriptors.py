"""Open files: how many a run needs, the soft limit raised to that, and how many episodes the hard limit bears."""

from __future__ import annotations

import resource
import sys

BASE = 128
"""What a process has open besides its episodes: libraries, the run's files, the workers that plain tools share."""
EPISODE = 8
"""One episode's: two connections, of model and user, and three workers of its own, two pipes each."""


def fit_concurrency(wanted: int) -> int:
    """How many of these episodes at once this process can play; fewer than `wanted` are said so on stderr."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = BASE + EPISODE * wanted
    if _at_least(soft, needed):
        return wanted
    allowed = needed if _at_least(hard, needed) else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    fitting = max(1, (allowed - BASE) // EPISODE)
    if fitting < wanted:
        said = f"--concurrency {wanted} needs about {needed:,} open files, and the limit here is {hard:,} (ulimit -Hn)"
        print(f"{said}: {fitting} episodes are played at once.", file=sys.stderr)
    return fitting


def _at_least(limit: int, needed: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= needed
