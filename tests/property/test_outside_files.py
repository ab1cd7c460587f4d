"""Whatever a file holds that somebody else wrote, its reader gives a value or one sentence."""

import gzip
import json
import lzma
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from outside import READERS, prepare, sound_texts

from harness.errors import HarnessError
from harness.models.api.wire import RequestFailure

QUICK = settings(
    max_examples=25, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
MANY = settings(QUICK, max_examples=400)
PACK = {".gz": gzip.compress, ".xz": lzma.compress}

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
names = st.sampled_from(
    ["schema", "identity", "tasks", "task", "sample", "messages", "tools", "codes", "unsolved_set", "checks", "calls",
     "scores", "usage", "turns", "line", "index", "choices", "content", "output", "question", "conversations", "step"]
) | st.text(max_size=4)  # fmt: skip
values = st.recursive(leaves, lambda v: st.lists(v, max_size=4) | st.dictionaries(names, v, max_size=4), max_leaves=12)


@st.composite
def spoilt(draw):
    """A sound text of one of the formats with a part of it replaced."""
    text = draw(st.sampled_from(list(sound_texts())))
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 20)))
    put = draw(st.sampled_from(["", "null", "[]", "{}", '"x"', "1e999", "-1", "\\ud800", "\0", '"', "[" * 300]))
    return (text[:start] + put + text[end:]).encode("utf-8", "surrogatepass")


def as_json(value):
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


contents = (
    st.binary(max_size=200)
    | values.map(as_json)
    | st.lists(values.map(as_json), max_size=4).map(b"\n".join)
    | spoilt()
    | st.dictionaries(names, leaves, max_size=4).map(
        lambda d: "".join(f"{json.dumps(k)} = {json.dumps(v)}\n" for k, v in d.items()).encode()
    )
)


def check(name, folder, content, packed):
    shutil.rmtree(folder / "case", ignore_errors=True)
    file = prepare(folder / "case", name)
    file.write_bytes(PACK[file.suffix](content) if packed and file.suffix in PACK else content)
    try:
        found = READERS[name][1](file)
    except HarnessError as error:
        said = str(error)
        assert said.strip() and "\n" not in said and len(said) < 5000, said
        return
    assert not isinstance(found, RequestFailure) or str(found)


@pytest.mark.parametrize("name", READERS)
@QUICK
@given(content=contents, packed=st.booleans())
def test_a_value_or_one_sentence(tmp_path, name, content, packed):
    check(name, tmp_path, content, packed)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
@MANY
@given(content=contents, packed=st.booleans())
def test_a_value_or_one_sentence_with_many_examples(tmp_path, name, content, packed):
    check(name, tmp_path, content, packed)
