"""A directory that one process writes: whether a run may begin there, and that nobody else writes meanwhile.

What makes a run the same one, and what its directory holds, is the caller's: evaluations (harness.runs.directory),
builds by a model and trainings each say so in their own words.
"""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from harness.data import disk
from harness.errors import UsageError

LOCK_FILE = ".lock"
HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
"""What a lock that another process has gives; anything else says that there are no locks to be had."""
T = TypeVar("T")


@contextmanager
def claim_directory(path: Path, find: Callable[[], T | None], begin: Callable[[], T]) -> Iterator[T]:
    """Holds a directory as its only writer for as long as the context lasts, and gives the run in it.

    `find` gives the run that is there to go on with, None where one may begin, and raises UsageError for whatever
    else the directory holds. It is asked once more when the directory is held: another process may have begun.
    """
    find()
    path.mkdir(parents=True, exist_ok=True)
    with lock_directory(path):
        there = find()
        yield begin() if there is None else there


def is_free(path: Path, *begun: str) -> bool:
    """Whether a run may begin at `path`: nothing is there, or a directory with at most what a start that was killed
    leaves: the lock, and the files `begun`, whole or half written."""
    if not path.exists():
        return True
    return path.is_dir() and all(
        entry.name in (LOCK_FILE, *begun) or any(entry.name.startswith(f".{name}.") for name in begun)
        for entry in path.iterdir()
    )


@contextmanager
def lock_directory(path: Path) -> Iterator[None]:
    """Holds a directory against other writers. Raises UsageError where one is at work."""
    with disk.open_to_append(path / LOCK_FILE) as file:
        hold_lock(file, path)
        yield


def hold_lock(file: IO[bytes], path: Path) -> None:
    """Locks an open file until it is closed. Raises UsageError where another process writes to `path`, and where the
    file system has no locks: two writers would cut each other's lines there, and nobody would see it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            raise UsageError(f"Another process is writing to {path}.") from None
        raise UsageError(
            f"{path} cannot be locked ({error.strerror}): its file system has no locks, so that a second writer would "
            "not be seen; name a directory on another one, such as a local disk, and copy it afterwards."
        ) from None
