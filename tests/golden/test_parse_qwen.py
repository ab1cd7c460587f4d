"""The paper's parser against ours in its mode: the recorded results of 16 texts."""

import json

from builders import SHARED, needs

from harness.formats.paper import parse_paper

TEXTS = SHARED / "golden" / "parse_qwen.jsonl"


def test_paper_mode_equals_the_recorded_results():
    rows = [json.loads(line) for line in needs(TEXTS).read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 16
    for row in rows:
        assert parse_paper(row["text"]).record() == row["expected"], row["text"]
