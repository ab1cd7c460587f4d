"""What ends an episode: every word that a record's `stop` may hold, with a sentence for the person.

The outcome says whose doing it was (harness.types.Outcome), the stop what happened. The words are a closed list, so
that a type checker refuses an unknown one, and two families: `http_NNN`, and `user_X` where the simulated user failed
by X. Environments and models of third parties may say a word of their own: `Step.stop` is open, `own_stop` makes one.
"""

import re
from collections.abc import Mapping
from typing import Literal, NewType, cast

Word = Literal[
    "no_tool_calls",
    "done",
    "user_stop",
    "transferred",
    "step_limit",
    "max_turns",
    "max_tokens",
    "max_episode_tokens",
    "context_length",
    "content_filter",
    "chat_template",
    "no_choices",
    "no_content",
    "no_output",
    "not_json",
    "response_failed",
    "insufficient_quota",
    "timeout",
    "connection",
    "episode_timeout",
    "sandbox",
    "user_silent",
    "model_exception",
    "engine",
    "out_of_memory",
    "machine_lost",
    "closed",
    "no_recording",
    "recording_ended",
    "ended",
    "mcp",
]
OtherStop = NewType("OtherStop", str)
"""A word that is no literal of ours: of a family, or a third party's own."""
StopReason = Word | OtherStop

SENTENCES: Mapping[Word, str] = {
    "no_tool_calls": "The model made no further call.",
    "done": "The environment ended the episode after a call.",
    "user_stop": "The simulated user had what it wanted and ended the conversation.",
    "transferred": "The model handed the user on to a human.",
    "step_limit": "The model took more steps in one of the user's turns than the benchmark allows.",
    "max_turns": "The model had used up its turns (--max-turns).",
    "max_tokens": "A reply was cut at its token cap (--max-tokens) before it held a call.",
    "max_episode_tokens": "The model had used up the output tokens of the whole episode.",
    "context_length": "The conversation had become longer than the model can read.",
    "content_filter": "The provider's content filter ended the reply.",
    "chat_template": "The model's chat template refuses this conversation.",
    "no_choices": "The endpoint answered without a message.",
    "no_content": "The endpoint answered without content.",
    "no_output": "The endpoint answered without output.",
    "not_json": "The endpoint answered with something that is no JSON.",
    "response_failed": "The endpoint said that its response failed.",
    "insufficient_quota": "The account at the provider is used up.",
    "timeout": "The endpoint did not answer in time.",
    "connection": "The endpoint could not be reached, or the connection broke.",
    "episode_timeout": "The episode took longer than its limit in seconds.",
    "sandbox": "The sandbox broke, so tools could not be run.",
    "user_silent": "The simulated user said nothing.",
    "model_exception": "The code that speaks for the model broke.",
    "engine": "The engine that runs the model failed.",
    "out_of_memory": "The device had no memory left, even for one episode.",
    "machine_lost": "Every machine that played the episode was lost before it ended.",
    "closed": "The model was closed while the episode was being played.",
    "no_recording": "The recording that is replayed has no episode of this sample.",
    "recording_ended": "The recording that is replayed ends here.",
    "ended": "The sample was ended by inspect_ai before the episode was over.",
    "mcp": "An MCP client calls tools by itself; the harness cannot ask it to speak.",
}

HTTP = re.compile(r"http_([0-9]{3})")

REFUSED_AT_THE_DOOR = frozenset({"http_401", "http_403", "http_404"})
"""A wrong key, a model that is not there: errors of the request, which a resumed run sends again."""


def http_stop(status: int) -> StopReason:
    """The stop of a request that was answered with an HTTP error."""
    return OtherStop(f"http_{status}")


def user_stop(stop: StopReason) -> StopReason:
    """The stop of an episode whose simulated user failed by `stop`."""
    return OtherStop(f"user_{stop}")


def own_stop(word: str) -> StopReason:
    """A third party's own word for what ended an episode; one of ours, too, where the text may be either."""
    return OtherStop(word)


def stop_sentence(stop: str) -> str | None:
    """What happened, for the person; None for a third party's own word."""
    if (sentence := _sentence(stop)) is not None:
        return sentence
    of_user = _sentence(stop.removeprefix("user_")) if stop.startswith("user_") else None
    return None if of_user is None else f"Asking the simulated user failed: {of_user}"


def _sentence(stop: str) -> str | None:
    if found := HTTP.fullmatch(stop):
        return f"The endpoint answered with HTTP {found[1]}."
    return SENTENCES.get(cast(Word, stop))
