"""What is said of bundled tools without looking is what looking says, and nobody's file can add to it."""

from __future__ import annotations

import pytest

from harness.data import bundled_sources
from harness.data.bundled_sources import FILE, SIZE, digest_tool, is_bundled, to_bytes
from harness.data.source import defines_function, parse_source
from harness.registry import select_tasks
from harness.sandbox import screen
from harness.sandbox.pool import _code
from tasks.look_at_sources import bundled_tools, is_sound

PART = 16
"""Of the 256 first bytes of a digest: those of the tools that are looked at in a moment."""


@pytest.fixture(scope="module")
def tools():
    return sorted(set(bundled_tools()))


def test_a_part_of_the_bundled_tools_is_as_the_digests_say(tools):
    part = [tool for tool in tools if digest_tool(*tool)[0] < PART]
    assert len(part) > 200
    other = [tool[0] for tool in part if is_sound(tool) != is_bundled(*tool)]
    assert not other, f"{other}: run `python -m tasks.look_at_sources`"


def test_every_digest_is_that_of_a_bundled_tool(tools):
    kept = FILE.read_bytes()
    known = {kept[start : start + SIZE] for start in range(0, len(kept), SIZE)}
    assert to_bytes(known) == kept and known <= {digest_tool(*tool) for tool in tools}
    assert len(known) > 5000


@pytest.mark.slow
def test_all_bundled_tools_are_as_the_digests_say(tools):
    assert FILE.read_bytes() == to_bytes(digest_tool(*tool) for tool in tools if is_sound(tool))


def test_another_name_and_another_text_are_not_known(tools):
    name, source = next(tool for tool in tools if is_bundled(*tool))
    assert not is_bundled(name + "_", source) and not is_bundled(name, source + "\n")
    assert not is_bundled(name + source[0], source[1:])


def test_what_is_known_is_not_looked_at_and_what_is_not_is(tools, monkeypatch):
    looked: list[str] = []
    monkeypatch.setattr(screen, "is_plain_source", lambda source: looked.append(source) or False)
    name, source = next(tool for tool in tools if is_bundled(*tool))
    assert _code.__wrapped__(name, source).plain and not looked
    other = source + "\nimport os\n"
    assert not _code.__wrapped__(name, other).plain and looked == [other]


def test_playing_bundled_tasks_reads_the_digests_of_the_package_alone():
    """Whatever a data file brings, what is known is what lies in the package."""
    before = bundled_sources._digests()
    samples = select_tasks(["ftrl_single_hop"], {})[0].load()
    assert all(is_bundled(*tool) for sample in samples[:3] for tool in sample.codes.items())
    assert bundled_sources._digests() is before


@pytest.mark.parametrize(
    ("source", "name", "found"),
    [
        ("def f(): return 1", "f", True),
        ("if x:\n    def f(): return 1", "f", True),
        ("def g():\n    def f(): return 1", "f", True),
        ("async def f(): return 1", "f", False),
        ("class f: pass", "f", False),
        ("f = lambda: 1", "f", False),
        ("f = lambda: 1", "lambda", False),
        ("x = (y for y in ())", "genexpr", False),
        ("x = [y for y in ()]", "listcomp", False),
        ("def lambda_(): 'def f(): pass'", "f", False),
        ("return 1\ndef f(): return 1", "f", True),
        ("nonlocal x\ndef f(): return 1", "f", True),
        ("def f(): return '\\d'", "f", True),
    ],
)
def test_the_short_look_finds_the_functions_that_the_tree_has(source, name, found):
    assert defines_function(source, name) is parse_source(source).defines(name) is found


def test_the_short_look_agrees_on_bundled_tools(tools):
    for name, source in tools[::100]:
        assert defines_function(source, name) and not defines_function(source, name + "_")


@pytest.mark.parametrize("source", ["def f(:", "def f(): pass\n\0", "x = " + "(" * 500 + ")" * 500])
def test_what_is_no_python_is_refused_as_by_the_tree(source):
    with pytest.raises((SyntaxError, ValueError, RecursionError, MemoryError)) as short:
        defines_function(source, "f")
    with pytest.raises((SyntaxError, ValueError, RecursionError, MemoryError)) as tree:
        parse_source(source)
    assert (type(short.value), str(short.value)) == (type(tree.value), str(tree.value))
