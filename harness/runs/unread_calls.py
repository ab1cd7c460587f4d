"""Calls that an endpoint left in a text: how a record notes them, and the warning of a run that has such notes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from harness.runs.results import EpisodeResult

UNREAD_CALLS = "unread: "
"""How such a note begins."""
TOOL_PARSERS = {"hermes": "hermes", "llama3": "llama3_json", "mistral": "mistral", "pythonic": "pythonic"}
"""vLLM's parser for each of our formats that it has one for."""
UNKNOWN = "unknown"
NOTED = re.compile(rf"{re.escape(UNREAD_CALLS)}.*? in the (text|reasoning), by the format (\w+)")


def describe_unread_calls(count: int | None, place: str, family: str) -> str:
    """The note; `family` is the format that they look like, "" for one that nobody has a name for."""
    calls = "calls" if count is None else f"{count} call{'' if count == 1 else 's'}"
    return f"{UNREAD_CALLS}{calls} in the {place}, by the format {family or UNKNOWN}, that the endpoint did not read"


def warn_unread_calls(results: Sequence[EpisodeResult]) -> list[str]:
    """The warning: in how many episodes, and what mends it. None where no episode has such a note."""
    noted = [[found for note in result.notes if (found := NOTED.search(note))] for result in results]
    if not (episodes := list(filter(None, noted))):
        return []
    [((place, family), _)] = Counter((found[0][1], found[0][2]) for found in episodes).most_common(1)
    return [
        f"WARNING: in {len(episodes):,} of {len(results):,} episodes the endpoint left calls of tools in the {place}, "
        f"unread, where they count as words: these scores are NOT the model's; {_mend_server(place, family)}."
    ]


def _mend_server(place: str, family: str) -> str:
    """What a person can do about it."""
    if family == "react":  # no server reads it
        return "--model-arg format=react reads them here (openai/, chat completions)"
    parser = "NAME" if family == UNKNOWN else TOOL_PARSERS.get(family, family)
    more = "with the --reasoning-parser of the model; " if place == "reasoning" else ""
    flags = f"vLLM: --enable-auto-tool-choice --tool-call-parser {parser}; SGLang: --tool-call-parser; {more}"
    ours = "format=hermes tells tools and reads calls as text here"
    if family in TOOL_PARSERS:
        ours = f"format={family} reads them here"
    return f"start it with its parser ({flags}llama.cpp: --jinja), or --model-arg {ours} (openai/, chat completions)"
