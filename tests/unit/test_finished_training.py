"""The result of a finished training run: taken as it is, or one sentence where something has damaged it."""

import json

import pytest

from harness.errors import UsageError
from trainer.rl import run
from trainer.sft import train

PLACES = [(run, "result.json"), (train, "model/manifest.json")]


@pytest.mark.parametrize(("regime", "place"), PLACES)
def test_a_run_without_a_result_is_not_finished(tmp_path, regime, place):
    assert regime.read_finished_run(tmp_path) is None


@pytest.mark.parametrize(("regime", "place"), PLACES)
def test_a_result_is_taken_as_it_is(tmp_path, regime, place):
    (tmp_path / "model").mkdir()
    result = dict.fromkeys(regime.TOLD, 1)
    (tmp_path / place).write_text(json.dumps(result))
    assert regime.read_finished_run(tmp_path) == result


@pytest.mark.parametrize(("regime", "place"), PLACES)
@pytest.mark.parametrize("text", ["", '{"recipe": {', "[]", "{}", "\\xff", "[" * 100_000])
def test_a_torn_result_is_one_sentence(tmp_path, regime, place, text):
    (tmp_path / "model").mkdir()
    (tmp_path / place).write_text(text)
    with pytest.raises(UsageError, match=place) as refused:
        regime.read_finished_run(tmp_path)
    assert "\n" not in str(refused.value)
