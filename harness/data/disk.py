"""Files that somebody else may have put where they are, opened so that opening them is all that happens.

A run directory may have been mailed. Its files are opened without following links, must be regular files (a FIFO would
wait for ever, a device never ends), and are written under names that nobody can guess and prepare. Files that a person
names are opened in the same way, but through links: data sets and models lie behind them. Left out: links among the
directories of a path, and hard links, which no archive can bring from outside of it.
"""

from __future__ import annotations

import errno
import gzip
import io
import lzma
import os
import secrets
import shutil
import stat
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO, cast

from harness.data.limits import EXPANSION, raise_by, read_limits, unpacked_limit
from harness.errors import UsageError

KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFLNK: "a link",
}
BLOCK = 1 << 18
UNPACKING = (lzma.LZMAError, gzip.BadGzipFile, zlib.error, EOFError, MemoryError)
"""What reading a packed file raises where it cannot be unpacked; one of xz may ask for gigabytes in its first bytes."""
PACKED: dict[str, Callable[[BinaryIO], gzip.GzipFile | lzma.LZMAFile]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".xz": lzma.LZMAFile,
}


def open_file(path: Path, *, links: bool) -> BinaryIO:
    """A regular file, to be read; `links`: also through a link. Raises UsageError for anything else that is there,
    OSError where nothing can be opened."""
    return os.fdopen(_open(path, os.O_RDONLY, links), "rb")


def open_to_append(path: Path) -> IO[bytes]:
    """A regular file of a run, made where there is none, to be read and appended to; errors as of `open_file`."""
    return os.fdopen(_open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, links=False), "a+b")


def open_beside(path: Path) -> tuple[IO[bytes], Path]:
    """A new file in the directory of `path`, to take its place when it is whole, and its path."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    return os.fdopen(_open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, links=False), "wb"), temporary


def _open(path: Path, flags: int, links: bool) -> int:
    flags |= os.O_NONBLOCK | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW)
    try:
        found = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO) and (kind := _kind_of(path, links)):
            raise UsageError(_refusal(path, kind)) from None
        raise
    mode = os.fstat(found).st_mode
    if stat.S_ISREG(mode):
        return found
    os.close(found)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise UsageError(_refusal(path, KINDS.get(stat.S_IFMT(mode), "something else")))


def _kind_of(path: Path, links: bool) -> str | None:
    try:
        return KINDS.get(stat.S_IFMT((path.stat if links else path.lstat)().st_mode))
    except OSError:
        return None


def _refusal(path: Path, kind: str) -> str:
    if kind == KINDS[stat.S_IFLNK]:
        return f"{path} is a link, which is not followed in the directory of a run; put the file itself there."
    return f"{path} is {kind} and no file that could be read."


def remove_folder(path: Path) -> None:
    """Makes room for a directory of ours, as well as it can: a link there is removed, and nothing behind it."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def read_file(path: Path, *, links: bool) -> bytes:
    """A whole file. Raises as `open_file` does, and UsageError where it is longer than a line may be."""
    longest = read_limits().line
    with open_file(path, links=links) as file:
        found = file.read(longest + 1)
    if len(found) > longest:
        raise UsageError(f"{path} is longer than {longest:,} bytes; {raise_by('line')}.")
    return found


def read_lines(file: IO[bytes], path: Path, first: int = 1) -> Iterator[bytes]:
    """The lines of an open file from where it stands, each with its end. Raises UsageError where one is too long, or
    where there are too many; `path` names the file, `first` the number of the first line."""
    limits = read_limits()
    for number, line in enumerate(iter(partial(file.readline, limits.line + 1), b""), start=first):
        if len(line) > limits.line:
            raise UsageError(f"{path}, line {number} is longer than {limits.line:,} bytes; {raise_by('line')}.")
        if number > limits.rows:
            raise UsageError(f"{path} has more than {limits.rows:,} lines; {raise_by('rows')}.")
        yield line


def open_unpacked(path: Path, *, links: bool, expansion: int = EXPANSION) -> BinaryIO:
    """A file to be read from its start, unpacked where its name says that it is packed. Raises as `open_file` does;
    reading raises UsageError where more comes out than may, `expansion` times the file or more, and what gzip and lzma
    raise."""
    file = open_file(path, links=links)
    if (unpack := PACKED.get(path.suffix)) is None:
        return file
    limit = unpacked_limit(os.fstat(file.fileno()).st_size, expansion)
    return cast(BinaryIO, io.BufferedReader(_Unpacked(path, file, unpack(file), limit), BLOCK))


def describe_unpacking(path: Path, error: BaseException) -> str:
    """The sentence for one of UNPACKING."""
    why = "it asks for more memory than there is" if isinstance(error, MemoryError) else error
    return f"{path} cannot be decompressed: {why}."


class _Unpacked(io.RawIOBase):
    """What comes out of a packed file, up to a limit."""

    def __init__(self, path: Path, file: BinaryIO, unpacking: gzip.GzipFile | lzma.LZMAFile, limit: int) -> None:
        self._path, self._file, self._unpacking, self._limit = path, file, unpacking, limit
        self._left = limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        found = self._unpacking.read1(len(buffer))
        self._left -= len(found)
        if self._left < 0:
            raise UsageError(f"{self._path} becomes more than {self._limit:,} bytes; {raise_by('bytes')}.")
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        self._unpacking.close()
        self._file.close()
        super().close()
