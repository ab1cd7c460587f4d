"""Source is parsed once, whoever asks; what is bundled is not parsed again, and listing parses nothing."""

from __future__ import annotations

import ast
import gc
import json
import re
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pytest

from envbuilder import making
from envbuilder.spec import Spec
from harness import cli
from harness.data import source
from harness.data.records import read_samples
from harness.errors import UsageError
from harness.registry import all_versions
from harness.sandbox import Sandbox, SandboxConfig
from tasks import synthesised, when, written

SYNTAX = """
import json as j
from math import *
@decorated(1, key=[2, *three])
def f(a, /, b: int = 1, *c, d=lambda x, *y: x, **e) -> dict[str, 'int']:
    global g
    async def inner():
        async with a as b, c: await d
        async for x in y: yield x
    try:
        with a as (b, c): del d.e[f:g:h]
    except (A, B) as error: raise X from error
    else: nonlocal_ = not -a ** +~b
    finally: pass
    match a:
        case {'k': [1, *rest], **more} | P(x, y=None) as whole if whole: return f'{a!r:>{b}}'
    while (n := a < b <= c): break
    return {**a, 'b': {x for x, in y if z}, 'c': (i async for i in j)}, x if y else (yield from z)
class C(B, metaclass=M): x: int = 1; y += 2
"""


@pytest.fixture
def parsed(monkeypatch):
    """How often each text was parsed."""
    found: Counter[str] = Counter()
    real = ast.parse
    monkeypatch.setattr(ast, "parse", lambda text, *rest, **more: found.update([text]) or real(text, *rest, **more))
    return found


def test_a_build_parses_every_source_once(monkeypatch, parsed):
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        monkeypatch.setattr(making, "_sandbox", sandbox)
        specs = [Spec("multi_hop", index, seed=90_210, split="train", preset="easy") for index in range(3)]
        built = [making.build_environment_record(spec) for spec in specs]
    sources = [code for made in built for code in json.loads(made.record["codes"]).values()]
    assert not any(made.failed for made in built)
    assert parsed == Counter(set(sources))


def test_listing_parses_nothing(parsed, capsys):
    synthesised._everything.cache_clear()
    assert cli.main(["list"]) == 0
    assert re.search(r"^micro_single_hop +50 ", capsys.readouterr().out, re.MULTILINE)
    assert not parsed
    assert synthesised._everything.cache_info().currsize == 0


def test_a_size_that_is_told_is_the_size():
    told = [task for task in all_versions({}) if task.size is not None]
    assert {task.group for task in told} == {"demo", "ftrl", "micro", "step_ftrl", "step_micro", "when", "written"}
    assert [task.name for task in told if len(task.load()) != task.size] == []


@pytest.mark.parametrize(
    ("path", "known"),
    [
        *((bundled.path, bundled.sha256) for bundled in (*synthesised.BUILDS, when.BUNDLED)),
        (written.PATH, written.SHA256),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else "",
)
def test_bundled_code_is_not_parsed_again(path, known, parsed):
    """That it can be is known: the files of BUILDS are built anew by a test, and a build parses all it makes."""
    assert sha256(path.read_bytes()).hexdigest() == known
    trusted = read_samples(path, known=known)
    assert not parsed
    if path == written.PATH:
        assert trusted == read_samples(path)


def test_another_file_in_place_of_a_bundled_one_is_parsed(tmp_path):
    row = {"messages": [{"role": "user", "content": "?"}], "tools": [], "codes": {"f": "def f(:"}, "unsolved_set": {}}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(UsageError, match="the code of 'f' does not compile"):
        read_samples(path, known=written.SHA256)
    assert len(read_samples(path, known=sha256(path.read_bytes()).hexdigest())) == 1


@pytest.mark.parametrize("text", [SYNTAX, Path(source.__file__).read_text(), ""], ids=["syntax", "module", "empty"])
def test_nodes_are_those_of_ast_walk_but_contexts(text):
    found = source.ParsedSource(text)
    wanted = [node for node in ast.walk(found.tree) if not isinstance(node, ast.expr_context)]
    assert list(found.nodes) == wanted
    assert list(found.imports) == [node for node in wanted if isinstance(node, ast.Import | ast.ImportFrom)]


def test_long_sources_are_not_kept():
    text = f"# {'x' * source.LONGEST_KEPT}"
    assert source.parse_source(text) is not source.parse_source(text)
    assert source.parse_source("x = 1") is source.parse_source("x = 1")


@pytest.mark.parametrize("collects", [True, False])
def test_the_collector_is_left_as_it_was(collects):
    before = gc.isenabled()
    (gc.enable if collects else gc.disable)()
    try:
        with pytest.raises(SyntaxError):
            source.parse_source("def f(:")
        assert gc.isenabled() is collects
    finally:
        (gc.enable if before else gc.disable)()
