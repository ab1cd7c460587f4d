"""Who sees each error.

The model sees tool errors (`ToolResult`), the record holds failed episodes (`ModelFailure`), and the person sees these:

HarnessError
  UsageError       the command line or a file that was named is wrong: one sentence, exit status 2
    MissingData    a task's data set is not where it was looked for
  NothingAccepted  no request of a run was ever accepted: the endpoint's own sentence, exit status 1
  SandboxError     tools cannot be run in isolation here, or the sandbox itself broke
ModelFailure       a model gave no usable reply; the rollout turns it into the episode's outcome
"""

from functools import partial
from typing import Any, Literal

from harness.key_shapes import hide_keys
from harness.stops import StopReason
from harness.types import Usage

LONGEST = 3000
"""Characters of a sentence."""


class HarnessError(Exception):
    """An error with a sentence for the person who runs the harness; never shown with a traceback. What looks like a key
    is taken out of it: one that was typed in the wrong place is part of what is wrong. A name of thousands of letters,
    which a file may hold, loses its middle."""

    def __init__(self, *said: object) -> None:
        super().__init__(*(_shortened(hide_keys(part)) if isinstance(part, str) else part for part in said))


def _shortened(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST // 2]} ... ({len(text) - LONGEST:,} more characters) ... {text[-LONGEST // 2 :]}"


class UsageError(HarnessError):
    """Bad input: what was wrong and what to do, in one sentence. The command line exits with status 2."""


class MissingData(UsageError):
    """A task whose data is not there: names the data set and the path that was looked at."""


class NothingAccepted(HarnessError):
    """A run that ended because its endpoint accepted no request at all. The command line exits with status 1."""


class SandboxError(HarnessError):
    """Tool code cannot be isolated on this machine, or the sandbox broke for reasons other than the tool."""


class ModelFailure(Exception):
    """A request that ended without a usable reply, after its retries.

    `outcome` is what the episode's outcome becomes; `stop` says what happened, in a word of harness.stops; `usage` is
    what the attempts cost; the message must already be free of secrets.
    """

    def __init__(
        self,
        message: str,
        *,
        outcome: Literal["model_error", "token_limit", "infrastructure_error"],
        stop: StopReason,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(message)
        self.outcome: Literal["model_error", "token_limit", "infrastructure_error"] = outcome
        self.stop: StopReason = stop
        self.usage = usage or Usage()

    def __reduce__(self) -> tuple[Any, ...]:
        """It may be raised in another process: what has only names is kept beside the message."""
        return partial(ModelFailure, outcome=self.outcome, stop=self.stop, usage=self.usage), self.args
