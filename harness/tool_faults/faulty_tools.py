"""What stands between an episode and its tools: calls that fail are answered here, the others go through.

A call that fails is never run, so that it changed nothing, but for a truncated one, which has to have an output. Only
tools that the sample offers can fail: what an environment runs for itself (checks, gold replayed on a fresh state) is
left alone. Left out: faults of an environment whose tools are no code of the sample's (bfcl_*).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.data import jsonio
from harness.rollout import StateRunner, ToolRunner, waiting_of
from harness.tool_faults.draws import ToolFaults, draw_wait
from harness.tool_faults.texts import ANSWERS, CUT
from harness.types import FaultKind, JSONObject, Sample, ToolResult

Calls = Sequence[tuple[str, JSONObject]]


class FaultyTools:
    """The tools of one episode, some of whose calls fail. A harness.rollout.StateRunner where `tools` is one."""

    def __init__(self, tools: ToolRunner, faults: ToolFaults, sample: Sample, epoch: int) -> None:
        self._tools = tools
        self._faults = faults
        self._sample, self._epoch = sample, epoch
        self._offered = {tool.name for tool in sample.tools} & sample.codes.keys()
        self._made: Counter[str] = Counter()

    @property
    def waited(self) -> float:
        return waiting_of(self._tools)()

    def run(self, codes: Mapping[str, str], calls: Calls) -> list[ToolResult]:
        fates = list(self._draw(calls))
        running = _running(calls, fates)
        return _answers(fates, self._tools.run(codes, running) if running else [])

    async def arun(self, codes: Mapping[str, str], calls: Calls) -> list[ToolResult]:
        fates = list(self._draw(calls))
        running = _running(calls, fates)
        return _answers(fates, await self._tools.arun(codes, running) if running else [])

    def _draw(self, calls: Calls) -> Iterator[ToolResult | FaultKind | None]:
        """The answer of each call that fails; "truncated" where an output is to be cut, None where nothing happens."""
        for name, _ in calls:
            if name not in self._offered:
                yield None
                continue
            place = self._sample.id, self._epoch, name, self._made[name]
            self._made[name] += 1
            fault = self._faults.find_fault(*place)
            if fault is None or fault == "truncated":
                yield fault
                continue
            status, text = ANSWERS[fault]
            yield ToolResult(status, text.format(wait=draw_wait(*place), tool=name), fault)


class FaultyStateTools(FaultyTools):
    """The same of tools that work on a state."""

    _tools: StateRunner

    def fresh(self) -> Any:
        """Without faults: what is replayed there is the gold."""
        return self._tools.fresh()

    def state_digest(self) -> str | None:
        return self._tools.state_digest()

    async def astate_digest(self) -> str | None:
        return await self._tools.astate_digest()


def put_faults_before(tools: ToolRunner, faults: ToolFaults | None, sample: Sample, epoch: int) -> ToolRunner:
    """The tools of an episode with faults in front of them; as they are where there are none."""
    if faults is None or not faults.probability:
        return tools
    kind = FaultyStateTools if hasattr(tools, "state_digest") else FaultyTools
    return kind(tools, faults, sample, epoch)


def _running(calls: Calls, fates: Sequence[object]) -> list[tuple[str, JSONObject]]:
    return [call for call, fate in zip(calls, fates, strict=True) if not isinstance(fate, ToolResult)]


def _answers(fates: Sequence[ToolResult | FaultKind | None], results: Sequence[ToolResult]) -> list[ToolResult]:
    ran = iter(results)
    return [fate if isinstance(fate, ToolResult) else cut_output(next(ran)) if fate else next(ran) for fate in fates]


def cut_output(result: ToolResult) -> ToolResult:
    """The first half of the items of an output; a call that did not end ok fails by itself and stays as it is."""
    if result.status != "ok":
        return result
    items = _items(result.output)
    shown = items[: len(items) // 2]
    text = json.dumps(shown, ensure_ascii=False) + CUT.format(shown=len(shown), all=len(items))
    return ToolResult("truncated", text, "truncated")


def _items(output: str) -> list[Any]:
    """The list that an output is, or the longest in an object; anything else is one item."""
    try:
        value = jsonio.parse_json(output)
    except ValueError:
        return [output]
    lists = [value] if isinstance(value, list) else []
    if isinstance(value, dict):
        lists = [part for part in value.values() if isinstance(part, list)]
    return max(lists, key=len, default=[value])
