"""One claim of a directory for every command that writes one."""

import pytest

from harness.errors import UsageError
from harness.runs.claims import LOCK_FILE, claim_directory, is_free, lock_directory


def claim(path, found=lambda: None):
    return claim_directory(path, found, lambda: "begun")


def test_a_new_directory_is_begun_and_held(tmp_path):
    path = tmp_path / "deep" / "run"
    with claim(path) as run:
        assert run == "begun"
        with pytest.raises(UsageError, match=f"^Another process is writing to {path}.$"), claim(path):
            pass
        with pytest.raises(UsageError, match="Another process"), lock_directory(path):
            pass
    with claim(path, lambda: "there") as run:
        assert run == "there"


def test_what_the_directory_holds_is_asked_again_when_it_is_held(tmp_path):
    answers = iter([None, "begun by another process"])
    with claim(tmp_path, lambda: next(answers)) as run:
        assert run == "begun by another process"


def test_nothing_is_made_where_the_directory_is_refused(tmp_path):
    def refuse():
        raise UsageError("no")

    with pytest.raises(UsageError, match="no"), claim(tmp_path / "run", refuse):
        pass
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("names", "free"),
    [
        ((), True),
        ((LOCK_FILE, ".run.json.77"), True),
        (("recipe.toml",), True),
        (("thesis.tex",), False),
        ((LOCK_FILE, ".other.json.77"), False),
    ],
)
def test_a_killed_start_is_no_obstacle_and_anything_else_is(tmp_path, names, free):
    for name in names:
        (tmp_path / name).touch()
    assert is_free(tmp_path, "recipe.toml", "run.json") is free


def test_a_file_is_no_place_for_a_run(tmp_path):
    assert is_free(tmp_path / "new", "run.json")
    (tmp_path / "file").touch()
    assert not is_free(tmp_path / "file", "run.json")
