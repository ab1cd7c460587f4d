"""Keys on their way to another machine: two halves that say nothing alone."""

import pytest

from harness.distributed.sealed_keys import SealedKeys, open_keys, seal_keys
from harness.errors import UsageError

HERE = {"A_KEY": "sk-decoy-ä", "ANOTHER": "x", "EMPTY": ""}


def test_what_was_sealed_is_opened():
    sealed = seal_keys(["A_KEY", "ANOTHER"], HERE)
    environ = {**sealed.variables, "PATH": "/bin"}
    open_keys(sealed.pad, environ)
    assert environ == {"A_KEY": "sk-decoy-ä", "ANOTHER": "x", "PATH": "/bin"}


def test_neither_half_holds_a_key_and_no_half_is_used_twice():
    first, second = (seal_keys(["A_KEY"], HERE) for _ in range(2))
    assert "decoy" not in repr(first) and b"decoy" not in first.pad
    assert first.pad != second.pad and first.variables != second.variables


def test_nothing_is_sealed_where_nothing_is_named():
    assert seal_keys([], HERE) == SealedKeys()
    environ = {"PATH": "/bin"}
    open_keys(b"", environ)
    assert environ == {"PATH": "/bin"}


@pytest.mark.parametrize("name", ["EMPTY", "MISSING"])
def test_a_variable_that_is_not_set_is_refused(name):
    with pytest.raises(UsageError, match=f"--ray-keys names {name}"):
        seal_keys(["A_KEY", name], HERE)
