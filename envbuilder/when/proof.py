"""What is asked can be had where a twin says so, and nowhere else by any call.

An answer that no call may reach stands in no tool's code and in no schema, and a search for arguments does not find it
either: it calls every tool with literals of its code, the schema's choices and the question's own words, and follows
what comes back (envbuilder.audit.search). What should be reached is, by the gold calls, and the usual audit holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from envbuilder.audit.environment import audit_environment, play_calls
from envbuilder.audit.search import search_arguments
from envbuilder.when.twins import Twin
from harness.data.records import sample_from_record
from harness.rollout import ToolRunner
from harness.scoring.decisions import SITUATIONS, finds_no_record
from harness.scoring.leaves import leaf
from harness.scoring.phrases import mentions
from harness.types import Gold, Sample

BUDGET = 600
"""Calls a tool and round of a search."""


def find_faults(twins: Sequence[Twin], episode: ToolRunner, budget: int = BUDGET) -> set[str]:
    """What is wrong with the twins of a world, in a word each. Raises UsageError where a record is none, SandboxError
    where tools cannot be run."""
    samples = [sample_from_record(twin.record, 0, twin.record["id"]) for twin in twins]
    pairs = list(zip(twins, samples, strict=True))
    found = {fault for twin, sample in pairs for fault in find_readable_faults(twin, sample)}
    return found or {fault for twin, sample in pairs for fault in _played(twin, sample, episode, budget)}


def find_readable_faults(twin: Twin, sample: Sample) -> Iterator[str]:
    """Faults that can be read: an answer that no call may reach stands in no tool, and in the note where it should."""
    prompt = sample.messages[0].content
    if not all(value in prompt for value in twin.noted):
        yield "note"
    tools = (twin.record["tools"], *sample.codes.values())
    for answer in twin.hidden:
        if not twin.noted and mentions([leaf(prompt)], answer):
            yield "note"
        if any(answer.replace(",", "") in text and mentions([leaf(text)], answer) for text in tools):
            yield "told"


def _played(twin: Twin, sample: Sample, episode: ToolRunner, budget: int) -> Iterator[str]:
    """Faults that calls show."""
    looks = SITUATIONS[twin.situation].looks
    audited = replace(sample, gold=replace(sample.gold, calls=())) if looks else sample
    yield from (finding.check for finding in audit_environment(audited, episode) if finding.fatal)
    if looks and not _finds_nothing(sample, episode):
        yield "record there"
    if twin.hidden and twin.situation != "no_tool" and _is_reached(sample, twin.hidden, episode, budget):
        yield "reached"  # no_tool has the tools of tool_gone


def _finds_nothing(sample: Sample, episode: ToolRunner) -> bool:
    calls = [(call.name, call.arguments) for call in sample.gold.calls or ()]
    return all(finds_no_record(record) for record in play_calls(sample, calls, episode))


def _is_reached(sample: Sample, hidden: Sequence[str], episode: ToolRunner, budget: int) -> bool:
    """Whether a search finds a call of any tool that states one of these answers."""
    wanted = {tool.name: tuple(hidden) for tool in sample.tools}
    found = search_arguments(replace(sample, gold=Gold(wanted)), episode, budget)
    return any(one.arguments is not None for one in found.reached)
