"""general_*: the numbers of lm-eval's own run, through run directories of ours."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from commands import episodes, one_sentence, summary
from commands import harness as strictly
from fakes import general_sets
from fakes.chat_server import ChatServer
from lm_eval_runs import harness, lm_eval, needs_lm_eval

from tasks.lmeval.benchmarks import BENCHMARKS
from tasks.lmeval.suite import POOLED

MODEL = ("--model", "openai/scripted")
QUIET = ("--quiet", "--max-tokens", "500")
CODE_EVAL = '''
import subprocess
import sys

import datasets
import evaluate


class CodeEval(evaluate.Metric):
    """What lm-eval fetches from a hub, as far as it is used: programs that end well pass."""

    def _info(self):
        features = {"predictions": datasets.Sequence(datasets.Value("string")), "references": datasets.Value("string")}
        return evaluate.MetricInfo(description="", citation="", features=datasets.Features(features))

    def _compute(self, predictions, references, k):
        (candidate,), test = predictions[0], references[0]
        done = subprocess.run([sys.executable, "-c", candidate + "\\n" + test], capture_output=True, timeout=20)
        return {"pass@1": float(done.returncode == 0)}, {}
'''


def parts(folder, pattern):
    """The names of lm-eval's parts, with the folder of their data and their file."""
    import lm_eval

    tasks = Path(lm_eval.__file__).parent / "tasks"
    found = {}
    for path in sorted((tasks / folder).glob(pattern)):
        fields = dict(line.replace('"', "").split(": ", 1) for line in path.read_text().splitlines() if ": " in line)
        if "dataset_name" in fields and "task" in fields:
            found[fields["task"]] = fields["dataset_name"], path
    return found


def made(tmp_path, data):
    """The data set in a folder, and lm-eval's parts of it that are compared: {part: (its rows, its configuration)}."""
    import lm_eval

    tasks = Path(lm_eval.__file__).parent / "tasks"
    if data == "gsm8k":
        path = general_sets.gsm8k(tmp_path / data)
        return path, {"gsm8k_cot_zeroshot": (path, tasks / "gsm8k" / "gsm8k-cot-zeroshot.yaml")}
    if data == "humaneval":
        path = general_sets.humaneval(tmp_path / data)
        return path, {"humaneval_instruct": (path, tasks / "humaneval" / "humaneval_instruct.yaml")}
    if data == "mbpp":
        path = general_sets.mbpp(tmp_path / data)
        return path, {"mbpp_instruct": (path / "full" / "test.jsonl", tasks / "mbpp" / "mbpp_instruct.yaml")}
    if data == "ifeval":
        path = general_sets.ifeval(tmp_path / data)
        return path, {"ifeval": (next(path.iterdir()), tasks / "ifeval" / "ifeval.yaml")}
    folder, pattern = {
        "mmlu": ("mmlu/generative", "mmlu_*.yaml"),
        "bbh": ("bbh/cot_zeroshot", "[!_]*.yaml"),
        "math": ("minerva_math", "minerva_math_*.yaml"),
    }[data]
    found = parts(folder, pattern)
    path = getattr(general_sets, data)(tmp_path / data, [name for name, _ in found.values()])
    some = list(found)[:: max(1, len(found) // 4)]
    return path, {part: (next((path / found[part][0]).iterdir()), found[part][1]) for part in some}


def stock(tmp_path, url, compared, **env):
    """lm-eval's own run of those parts, on the same rows, read in lm-eval's own way; its samples by part."""
    include = tmp_path / "include"
    include.mkdir()
    for part, (rows, configuration) in compared.items():
        fields = {
            "include": str(configuration),
            "task": f"stock_{part}",
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": {"data_files": {"test": str(rows)}},
            "test_split": "test",
            "training_split": None,
            "fewshot_split": None,
        }
        (include / f"{part}.yaml").write_text("".join(f"{k}: {json.dumps(v)}\n" for k, v in fields.items()))
    (tmp_path / "code_eval").mkdir()
    (tmp_path / "code_eval" / "code_eval.py").write_text(CODE_EVAL)
    return lm_eval(
        tmp_path, "tasks.lmeval", "--include_path", include, "--model", "harness", "--model_args",
        f"name=openai/scripted,base_url={url},max_tokens=500", "--tasks", ",".join(f"stock_{p}" for p in compared),
        "--apply_chat_template", "--confirm_run_unsafe_code", **env,
    )  # fmt: skip


@needs_lm_eval
@pytest.mark.slow
@pytest.mark.parametrize("data", sorted(BENCHMARKS))
def test_every_document_scores_what_lm_eval_scores(tmp_path, data):
    if data == "math" and find_spec("math_verify") is None:
        pytest.skip("needs lm-eval's math extra: pip install '.[lm-eval]'")
    benchmark, (path, compared) = BENCHMARKS[data], made(tmp_path, data)
    allowed = {"HF_ALLOW_CODE_EVAL": "1"} if benchmark.code else {}
    if benchmark.needs:
        allowed = {"NLTK_DATA": str(general_sets.punkt(tmp_path / "nltk"))}
    with ChatServer(general_sets.answers) as server:
        done = harness(
            tmp_path, "eval", *MODEL, "--base-url", server.url, "--tasks", benchmark.name, "--data", f"{data}={path}",
            "--out", tmp_path / "run", *QUIET, **allowed,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        theirs = stock(tmp_path, server.url, compared, **allowed)
    ours = {record["sample"]: record for record in episodes(tmp_path / "run")}
    seen = set()
    for part in compared:
        rows = theirs["samples"][f"stock_{part}"]
        filters = {row["filter"] for row in rows}
        for row in rows:
            name = f"{part}/{row['doc_id']}" if "/" in next(iter(ours)) else str(row["doc_id"])
            label = "" if len(filters) == 1 else "_" + row["filter"].replace("-", "_")
            for metric in set(row["metrics"]) - set(POOLED):
                value = ours[name]["scores"][metric.replace("pass@1", "pass_at_1") + label]
                assert value == row[metric], (name, metric, label, row["resps"])
                seen.add(value)
    assert seen == {0.0, 1.0}, "data and replies must tell right from wrong"


@needs_lm_eval
@pytest.mark.slow
def test_the_mean_and_its_error_are_lm_evals(tmp_path):
    path, compared = made(tmp_path, "gsm8k")
    with ChatServer(general_sets.answers) as server:
        done = harness(
            tmp_path, "eval", *MODEL, "--base-url", server.url, "--tasks", "general_gsm8k", "--data", f"gsm8k={path}",
            "--out", tmp_path / "run", *QUIET,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        theirs = stock(tmp_path, server.url, compared)["results"]["stock_gsm8k_cot_zeroshot"]
    entry = summary(tmp_path / "run")["tasks"]["general_gsm8k"]
    found = entry["metrics"]["exact_match_flexible_extract"]
    assert entry["headline"] == "exact_match_flexible_extract" and found["n"] == len(general_sets.SUMS)
    assert 0 < found["value"] < 1
    assert found["value"] == pytest.approx(theirs["exact_match,flexible-extract"])
    assert found["stderr"] == pytest.approx(theirs["exact_match_stderr,flexible-extract"])
    assert entry["metrics"]["exact_match_strict_match"]["value"] == pytest.approx(theirs["exact_match,strict-match"])


@needs_lm_eval
def test_a_run_is_an_ordinary_run_directory(tmp_path):
    path = general_sets.gsm8k(tmp_path)
    words = (*MODEL, "--tasks", "general_gsm8k", "--data", f"gsm8k={path}", *QUIET)
    with ChatServer(general_sets.answers) as server:
        for name in ("before", "after"):
            done = harness(tmp_path, "eval", *words, "--base-url", server.url, "--out", tmp_path / name)
            assert done.returncode == 0, done.stderr
        sent = len(server.requests)
        done = harness(tmp_path, "eval", *words, "--base-url", server.url, "--out", tmp_path / "after", "--resume")
        assert done.returncode == 0 and len(server.requests) == sent
    done = harness(tmp_path, "rescore", tmp_path / "after")
    assert done.returncode == 0 and "0 changed" in done.stdout, done.stderr
    done = harness(tmp_path, "compare", tmp_path / "before", tmp_path / "after")
    assert "general_gsm8k" in done.stdout, done.stderr


@needs_lm_eval
@pytest.mark.slow
@pytest.mark.parametrize("data", sorted(set(BENCHMARKS) - {"bbh", "ifeval"}))
def test_the_data_sets_own_solutions_score_one_and_silence_nothing(tmp_path, data):
    """Not BBH: each of its puzzles has a filter of its own, and the small set fits few of them. IFEval has none."""
    if data == "math" and find_spec("math_verify") is None:
        pytest.skip("needs lm-eval's math extra: pip install '.[lm-eval]'")
    benchmark, (path, _) = BENCHMARKS[data], made(tmp_path, data)
    done = harness(
        tmp_path, "eval", "--model", "policy/oracle", "policy/silent", "--tasks", benchmark.name, "--data",
        f"{data}={path}", "--out", tmp_path / "runs", "--quiet", HF_ALLOW_CODE_EVAL="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for model, value in (("oracle", 1.0), ("silent", 0.0)):
        metrics = summary(tmp_path / "runs" / f"policy-{model}")["tasks"][benchmark.name]["metrics"]
        assert metrics[benchmark.headline]["value"] == value, model


@needs_lm_eval
def test_a_program_that_leaves_early_does_not_pass(tmp_path):
    path = general_sets.humaneval(tmp_path)
    leaves = {"": [general_sets.text("```python\nimport os, sys\nsys.exit(0)\n```")]}
    with ChatServer(leaves) as server:
        done = harness(
            tmp_path, "eval", *MODEL, "--base-url", server.url, "--tasks", "general_humaneval", "--samples", "0",
            "--data", f"humaneval={path}", "--out", tmp_path / "run", *QUIET, HF_ALLOW_CODE_EVAL="1",
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (record,) = episodes(tmp_path / "run")
    assert record["scores"]["pass_at_1"] == 0.0
    assert record["facts"]["passed"] is False


# --- what is missing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", sorted(BENCHMARKS))
def test_missing_data_is_a_sentence_with_its_id(tmp_path, data):
    benchmark = BENCHMARKS[data]
    said = one_sentence(strictly("eval", "--model", "policy/silent", "--tasks", benchmark.name, HF_HUB_OFFLINE="1"))
    assert benchmark.hub in said and f"--data {data}=PATH" in said
    nowhere = tmp_path / "nowhere"
    said = one_sentence(
        strictly("eval", "--model", "policy/silent", "--tasks", benchmark.name, "--data", f"{data}={nowhere}")
    )
    assert benchmark.hub in said and str(nowhere) in said


def test_missing_data_is_skipped_among_others(tmp_path):
    done = strictly(
        "eval",
        "--model",
        "policy/silent",
        "--tasks",
        "general_*",
        "demo_single_hop",
        "--out",
        tmp_path / "run",
        "--quiet",
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Skipped general_") == len(BENCHMARKS)
    assert set(summary(tmp_path / "run")["tasks"]) == {"demo_single_hop"}


@pytest.mark.parametrize("data", ["humaneval", "mbpp"])
def test_code_is_not_run_unless_allowed(tmp_path, data):
    path = getattr(general_sets, data)(tmp_path)
    said = one_sentence(
        strictly("eval", "--model", "policy/silent", "--tasks", f"general_{data}", "--data", f"{data}={path}")
    )
    assert "HF_ALLOW_CODE_EVAL=1" in said


@needs_lm_eval
@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"question": "What?"}], "general_gsm8k"),
        ([], "rows"),
        ([["no object"]], "rows"),
    ],
)
def test_data_of_another_shape_is_a_sentence(tmp_path, rows, says):
    path = general_sets.write(tmp_path / "test.jsonl", rows)
    done = harness(tmp_path, "eval", "--model", "policy/silent", "--tasks", "general_gsm8k", "--data", f"gsm8k={path}")
    assert says in one_sentence(done)
    assert str(path) in done.stderr


@needs_lm_eval
def test_ifeval_without_a_model_of_sentences_fetches_nothing(tmp_path):
    path = general_sets.ifeval(tmp_path / "ifeval")
    words = ("--tasks", "general_ifeval", "--data", f"ifeval={path}")
    done = harness(tmp_path, "eval", "--model", "policy/silent", *words, NLTK_DATA=str(tmp_path), HOME=str(tmp_path))
    assert "python -m nltk.downloader punkt_tab" in one_sentence(done)
    punkt = str(general_sets.punkt(tmp_path / "nltk"))
    done = harness(tmp_path, "eval", "--model", "policy/oracle", *words, NLTK_DATA=punkt)
    assert "leave the oracle out" in one_sentence(done)


@needs_lm_eval
def test_a_part_that_is_missing_is_named(tmp_path):
    path = general_sets.mmlu(tmp_path, ["anatomy"])
    done = harness(tmp_path, "eval", "--model", "policy/silent", "--tasks", "general_mmlu", "--data", f"mmlu={path}")
    assert str(path / "abstract_algebra" / "test*") in one_sentence(done)
