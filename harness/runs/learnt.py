"""What a run's endpoint refused, beside its table: what was sent instead, and whether all episodes got the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.data.schema import Learnt

SAID = {
    "max_tokens": "at most {:,} new tokens a turn",
    "context": "replies of at most what a context of {:,} tokens leaves beside the prompt",
}


def describe_learnt(manifest: Mapping[str, Any], episodes: int) -> Iterator[str]:
    """One line for what was sent otherwise in the whole run, and the warnings."""
    learnt: list[Learnt] = manifest.get("learnt", [])
    if learnt:
        yield f"the endpoint refused what was asked for; sent instead: {', '.join(map(_said, learnt))}"
    yield from describe_mixture(manifest, episodes)


def describe_mixture(manifest: Mapping[str, Any], episodes: int) -> Iterator[str]:
    """A warning for each rule that was learnt when episodes had been played under another one."""
    for item in manifest.get("learnt", []):
        if before := min(item["episodes_before"], episodes):
            yield (
                f"WARNING: {before:,} of {episodes:,} episodes were played, in part at least, before it was known that "
                f"the endpoint takes {_said(item)}, and {episodes - before:,} after: they are not alike; --resume "
                "plays these again"
            )


def _said(item: Learnt) -> str:
    value, name = item["value"], item["field"]
    if value is None:
        return f"no {name}"
    return SAID.get(name, f"{name} {{}}").format(value)
