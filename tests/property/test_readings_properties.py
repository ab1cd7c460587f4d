"""However a model nests, repeats and quotes its arguments, judging a call is bounded work."""

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.scoring import leaves, normalise, readings
from harness.scoring.readings import EACH, MAX_READ
from harness.scoring.strict import solves
from harness.types import CallRecord, ToolCall

OUTPUT = "the answer is 42 units"
CHUNKS = ("1 ", "-5, ", "'", '"', "\\", "[", '{"a": ', "1,", "é", "ﷺ", "½ ", "ı", "漢", "\n", "a\u0301\u0301", "word ")
WRAPS = (
    lambda value: [value],
    lambda value: {"k": value},
    lambda value: ["-5", value],
    lambda value: [value, [value]] if len(json.dumps(value)) < 20_000 else [value],
    lambda value: {"a": "x\ny", "b": value},
    lambda value: json.dumps(value) if len(json.dumps(value)) < 40_000 else [value],
    lambda value: [value] * 50 if len(json.dumps(value)) < 1_000 else [value],
)


@st.composite
def arguments(draw: st.DrawFn) -> dict[str, Any]:
    text = "".join(draw(st.lists(st.sampled_from(CHUNKS), min_size=1, max_size=3)))
    value: Any = text * (draw(st.sampled_from([1, 100, 3_000, 12_000, 40_000])) // len(text) + 1)
    if draw(st.booleans()):
        value = [*range(draw(st.sampled_from([10, 500, 1_000, 10_000]))), value]
    wraps = draw(st.lists(st.sampled_from(WRAPS), min_size=1, max_size=3))
    for number in range(draw(st.integers(0, 60))):
        value = wraps[number % len(wraps)](value)
    return {"note": value}


class Work:
    """What was tokenised, in bytes, and how many Python functions were called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read = self.calls = 0
        monkeypatch.setattr(readings, "read_apart", self._counted(normalise.read_apart))
        monkeypatch.setattr(leaves, "read", self._counted(normalise.read))

    def _counted(self, read: Callable[[str], Any]) -> Callable[[str], Any]:
        def counted(text: str) -> Any:
            self.read += len(text.encode("utf-8", "surrogatepass")) + EACH
            return read(text)

        return counted

    def judge(self, call: ToolCall) -> None:
        self.read = self.calls = 0
        before = sys.getprofile()
        sys.setprofile(self._profile)
        try:
            solves([CallRecord(0, call, "ok", OUTPUT)], {"f": ["42"]})
        finally:
            sys.setprofile(before)

    def _profile(self, frame: Any, event: str, argument: Any) -> None:
        self.calls += event == "call"


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(arguments())
def test_work_is_bounded(monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any]) -> None:
    with monkeypatch.context() as patched:
        work = Work(patched)
        work.judge(ToolCall("id", "f", arguments, json.dumps(arguments, ensure_ascii=False)))
        assert work.read <= MAX_READ + len(OUTPUT) + EACH
        assert work.calls <= 6 * MAX_READ
