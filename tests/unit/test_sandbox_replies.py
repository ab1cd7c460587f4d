"""Whatever a worker sends, the harness reads replies out of it or calls it dishonest; nothing is raised."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.sandbox import wire
from harness.sandbox.process import LauncherProcess, WorkerProcess

TOKEN = b"\x01\x02\x03\x04\x05\x06\x07\x08"


def nobody() -> LauncherProcess:
    raise AssertionError


def worker() -> WorkerProcess:
    return WorkerProcess(nobody, 2000, 1.0)


def reply(place: int, text: bytes, status: int = wire.OK, token: bytes = TOKEN) -> bytes:
    return wire.REPLY.pack(len(text), token, place, status, 0.5) + text


def test_replies_in_order_are_read_and_the_rest_is_kept() -> None:
    data = reply(3, b"a") + reply(4, "é".encode(), wire.RAISED) + reply(5, b"half")[:-1]
    replies, rest, honest = worker()._parse(data, TOKEN, 3)
    assert (replies, honest) == ([(wire.OK, "a", 0.5), (wire.RAISED, "é", 0.5)], True)
    assert rest == reply(5, b"half")[:-1]


def test_what_is_dishonest() -> None:
    for data in (
        reply(1, b"a"),
        reply(0, b"a", token=b"12345678"),
        reply(0, b"a", status=9),
        reply(0, b"\xff"),
        reply(0, "\ud800".encode("utf-8", "surrogatepass")),
        reply(0, b"x" * 2001),
        wire.REPLY.pack(1 << 31, TOKEN, 0, wire.OK, 0.0),
    ):
        assert worker()._parse(data, TOKEN, 0) == ([], b"", False)


@given(st.binary(max_size=300), st.integers(0, 3))
def test_any_bytes(data: bytes, place: int) -> None:
    replies, rest, _ = worker()._parse(data, TOKEN, place)
    assert len(rest) <= len(data)
    assert replies == [] or TOKEN in data


@given(st.lists(st.text(max_size=20), max_size=5), st.integers(0, 200))
def test_replies_cut_anywhere_are_put_together(texts: list[str], cut: int) -> None:
    encoded = [text.encode("utf-8", "replace") for text in texts]
    data = b"".join(reply(place, text) for place, text in enumerate(encoded))
    first, rest, _ = worker()._parse(data[:cut], TOKEN, 0)
    second, left, honest = worker()._parse(rest + data[cut:], TOKEN, len(first))
    assert honest
    assert left == b""
    assert [text for _, text, _ in first + second] == [text.decode() for text in encoded]
