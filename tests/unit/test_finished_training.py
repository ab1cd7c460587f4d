"""The result of a finished training run: taken as it is, or one sentence where something has damaged it."""

import json

import pytest

from harness.errors import UsageError
from trainer.rl import run
from trainer.rl.run import read_rl_result
from trainer.sft import train
from trainer.sft.train import read_sft_manifest

RESULTS = [(read_rl_result, "result.json"), (read_sft_manifest, "model/manifest.json")]
TOLD = {"result.json": run.TOLD, "model/manifest.json": train.TOLD}


@pytest.mark.parametrize(("read", "place"), RESULTS)
def test_a_run_without_a_result_is_not_finished(tmp_path, read, place):
    assert read(tmp_path) is None


@pytest.mark.parametrize(("read", "place"), RESULTS)
def test_a_result_is_taken_as_it_is(tmp_path, read, place):
    (tmp_path / "model").mkdir()
    result = dict.fromkeys(TOLD[place], 1)
    (tmp_path / place).write_text(json.dumps(result))
    assert read(tmp_path) == result


@pytest.mark.parametrize(("read", "place"), RESULTS)
@pytest.mark.parametrize("text", ["", '{"recipe": {', "[]", "{}", "\\xff", "[" * 100_000])
def test_a_torn_result_is_one_sentence(tmp_path, read, place, text):
    (tmp_path / "model").mkdir()
    (tmp_path / place).write_text(text)
    with pytest.raises(UsageError, match=place) as refused:
        read(tmp_path)
    assert "\n" not in str(refused.value)
