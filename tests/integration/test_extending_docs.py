"""docs/extending.md: the package that it writes is installed as it stands, and each part of it does what it is for."""

import json
import re
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from builders import sample
from commands import episodes, harness, one_sentence
from documents import block, page

from harness.types import ModelRequest, Sampling, ToolCall, Trajectory, Usage, Verdict
from trainer.rl.algorithms import Algorithm

TEXT = page("docs/extending.md")
MODULES = dict(re.findall(r"<!-- (my_package/\w+\.py) -->\n```python\n(.*?)```", TEXT, re.DOTALL))
DECLARED = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder of installed packages with the page's in it."""
    place = tmp_path_factory.mktemp("site")
    (place / "my_package").mkdir()
    for name, source in MODULES.items():
        (place / name).write_text(source)
    groups = {}
    for text in DECLARED:
        for group, points in tomllib.loads(text)["project"]["entry-points"].items():
            groups.setdefault(group, {}).update(points)
    info = place / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1.0\n")
    lines = [f"[{group}]\n" + "".join(f"{n} = {v}\n" for n, v in points.items()) for group, points in groups.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return place


@pytest.fixture
def run(site, tmp_path):
    """Runs the command line where the package is installed."""
    return lambda *words, **env: harness(*words, cwd=tmp_path, PYTHONPATH=str(site), **env)


@pytest.fixture
def part(site, monkeypatch):
    """One module of the package, imported here."""
    monkeypatch.syspath_prepend(site)
    yield lambda name: __import__(f"my_package.{name}", fromlist=[name])
    for name in [name for name in sys.modules if name.startswith("my_package")]:
        del sys.modules[name]


def test_the_task_the_model_and_the_command_are_found(run, tmp_path):
    assert "mine_words" in run("list", "mine_*").stdout
    for model in ("mine/small", "policy/oracle"):
        done = run("eval", "--model", model, "--tasks", "mine_words", "--out", tmp_path / model, "--quiet")
        assert done.returncode == 0, done.stderr
        assert re.search(r"mine_words +3 +1\.000", done.stdout)
    assert run("count", tmp_path / "mine" / "small").stdout == "small {'ok': 3}\n"


class Acme(BaseHTTPRequestHandler):
    """Refuses its first request for being too fast, then says the second word of what it was asked backwards."""

    asked: ClassVar[list] = []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, self.headers, body))
        word = body["turns"][0]["text"].split()[1]
        said = {"error": "slow down"} if len(self.asked) == 1 else {"say": word[::-1], "use": [], "tokens": 5}
        content = json.dumps(said).encode()
        self.send_response(429 if "error" in said else 200)
        self.send_header("Retry-After", "0.01")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words):
        pass


@pytest.fixture
def server():
    """The provider's URL."""
    Acme.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Acme) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}/v1"
        found.shutdown()
        thread.join()


def test_the_provider_is_asked_in_its_own_format(run, server, tmp_path):
    words = ("--base-url", server, "--tasks", "mine_words", "--quiet")
    told = ("--model-arg", 'extra_body={"tone": "dry"}', "--out", tmp_path / "run")
    others = {"OPENAI_ORG_ID": "org-of-another", "OPENAI_CUSTOM_HEADERS": "X-Other: for another"}
    done = run("eval", "--model", "acme/small", *words, *told, ACME_API_KEY="acme-secret-key", **others)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"mine_words +3 +1\.000", done.stdout)
    path, headers, body = Acme.asked[0]
    assert (path, headers["Authorization"]) == ("/v1/talk", "Bearer acme-secret-key")
    assert "OpenAI-Organization" not in headers and "X-Other" not in headers
    assert set(body) == {"model", "turns", "tools", "limit", "tone"}
    usages = [episode["usage"] for episode in episodes(tmp_path / "run")]
    assert [usage["output_tokens"] for usage in usages] == [5, 5, 5]
    assert sum(usage["retries"] for usage in usages) == 1
    kept = "".join(file.read_text() for file in (tmp_path / "run").iterdir())
    assert "acme-secret-key" not in kept
    refused = run("eval", "--model", "acme/small", *words, "--reasoning", "on", "--out", tmp_path / "on")
    assert "acme/small has no reasoning to switch" in one_sentence(refused)


def test_the_provider_reads_calls(part):
    asked = ModelRequest(sample().messages, sample().tools, Sampling(), sample())
    dialect = part("my_provider").AcmeDialect("small", {})
    content = json.dumps({"use": [{"name": "population", "arguments": {"town": "Corrie"}}]}).encode()
    (call,) = dialect.read_reply(dialect.make_request(asked), content, asked).message.tool_calls
    assert call.id and (call.name, call.arguments) == ("population", {"town": "Corrie"})


def test_the_reward_is_one(part):
    few_calls = part("my_rewards").FEW_CALLS
    trajectory = Trajectory((), (object(),) * 2, 2, "ok", "done", Usage(), {})
    assert few_calls.episode(sample(), trajectory, Verdict((), (), {"solve_f1": 1.0})) == 0.9


def test_the_algorithm_gives_no_group_an_advantage():
    torch = pytest.importorskip("torch")
    there = {"Algorithm": Algorithm, "ALGORITHMS": {}}
    exec(block(TEXT, "trainer/rl/algorithms.py"), there)
    rewards = torch.tensor([1.0, 0.0, float("nan"), 0.5, 0.5, 0.5])
    found = there["ALGORITHMS"]["dr_grpo"].advantages(rewards, torch.ones(6), 3)
    assert found.tolist() == [0.5, -0.5, 0.0, 0.0, 0.0, 0.0]


def test_the_format_reads_what_it_writes(part):
    at = part("my_format").At()
    calls = (ToolCall("call_0_0", "find", {"town": "Orne"}, '{"town": "Orne"}'),)
    message = at.parse(f"I look it up.\n{at.render(calls)}")
    assert (message.content, message.tool_calls) == ("I look it up.", calls)
    assert at.parse('@find {"town": "Or').tool_calls[0].parse_error == "the call's JSON was not finished"
