"""What tools may use: limits above the single call, and the account that an episode keeps of them.

A call has its own time, memory and length of output; here is what a turn, an episode and all episodes of a sandbox may
use together. What goes beyond is answered to the episode that went beyond, as a call of status `refused`, and is never
charged to another. Left out: time that an episode waits for a worker, which is nobody's doing.
"""

from __future__ import annotations

import math
import os
import resource
from dataclasses import asdict, dataclass
from typing import Any

SLOW_SECONDS = 0.5
"""An episode whose tools have run for longer waits apart from the others (harness.sandbox.sharing)."""
_DESCRIPTORS_EACH = 2
"""Of a process: its socket and its pipe."""


def _half_of_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


@dataclass(frozen=True, slots=True)
class ToolLimits:
    """Limits above the single call; math.inf is none.

    turn_calls       calls of one turn that are run
    turn_seconds     seconds that the tools of one turn run; episode_seconds: of one episode
    turn_bytes       output of one turn, in UTF-8; episode_bytes: of one episode
    processes        processes that belong to single episodes, in all
    process_bytes    what these hold in memory beyond what they began with, in all
    descriptors      open files on the harness's side for these processes; None: half of what this process may open
    """

    turn_calls: float = 256
    turn_seconds: float = 120.0
    episode_seconds: float = 600.0
    turn_bytes: float = 1 << 20
    episode_bytes: float = 4 << 20
    processes: float = 256
    process_bytes: float = min(8 << 30, _half_of_memory())
    descriptors: int | None = None

    @property
    def places(self) -> float:
        """How many processes of single episodes there may be."""
        return max(1, min(self.processes, self._open_files() // _DESCRIPTORS_EACH))

    def to_json(self) -> dict[str, Any]:
        """As the manifest has it, under `sandbox`."""
        return {**asdict(self), "descriptors": self._open_files()}

    def _open_files(self) -> int:
        if self.descriptors is not None:
            return self.descriptors
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return (1 << 20 if soft == resource.RLIM_INFINITY else soft) // 2


UNLIMITED = ToolLimits(math.inf, math.inf, math.inf, math.inf, math.inf)
"""For calls that no policy chose: a builder that tries its own tools."""


class Account:
    """What the tools of one episode have used. `why`: the limit that was met, in words; nothing is run while it holds.

    A turn is what an environment asks to be run at once.
    """

    __slots__ = (
        "_bytes_end",
        "_bytes_then",
        "_closed",
        "_seconds_end",
        "_seconds_then",
        "bytes",
        "limits",
        "seconds",
        "why",
    )

    def __init__(self, limits: ToolLimits = UNLIMITED) -> None:
        self.limits = limits
        self.seconds = 0.0
        self.bytes = 0
        self.why: str | None = None
        self._closed: str | None = None
        self._seconds_then = 0.0
        self._bytes_then = 0
        self._seconds_end = limits.turn_seconds
        self._bytes_end = limits.turn_bytes

    def open_turn(self) -> None:
        limits = self.limits
        self._seconds_then, self._bytes_then = self.seconds, self.bytes
        seconds, size = self.seconds + limits.turn_seconds, self.bytes + limits.turn_bytes
        self._seconds_end = seconds if seconds < limits.episode_seconds else limits.episode_seconds
        self._bytes_end = size if size < limits.episode_bytes else limits.episode_bytes
        if self.why is not None:
            self.why = self._met()

    def add(self, seconds: float, output: str = "") -> None:
        self.seconds = used = self.seconds + seconds
        self.bytes = size = self.bytes + (len(output) if output.isascii() else len(output.encode("utf-8", "replace")))
        if used >= self._seconds_end or size >= self._bytes_end:
            self.why = self._met()

    def close(self, why: str) -> None:
        """Nothing more is run in this episode."""
        self.why = self._closed = why

    def refuse_calls(self) -> str:
        """What calls beyond the number of a turn are told."""
        return f"not run, because this turn had {self.limits.turn_calls:,} calls before it"

    def _met(self) -> str | None:
        if self._closed is not None:
            return self._closed
        limits = self.limits
        turn_seconds, turn_bytes = self.seconds - self._seconds_then, self.bytes - self._bytes_then
        for name, used, most, unit in (
            ("turn", turn_seconds, limits.turn_seconds, "seconds"),
            ("episode", self.seconds, limits.episode_seconds, "seconds"),
            ("turn", turn_bytes, limits.turn_bytes, "bytes of output"),
            ("episode", self.bytes, limits.episode_bytes, "bytes of output"),
        ):
            if used >= most:
                return f"not run, because the tools of this {name} had used up their {most:,.15g} {unit}"
        return None
