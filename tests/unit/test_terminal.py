"""Untrusted text on a terminal."""

import pytest

from harness.console.text import printable, shorten_text


@pytest.mark.parametrize("text", ["\x1b[2J", "\x07", "\x9b31m", "a\rb", "\u202egpj.exe", "\x00", "\x7f", "\x85"])
def test_controls_are_shown_not_obeyed(text):
    shown = printable(text)
    assert shown != text
    assert "\\x" in shown
    assert shown.isprintable()


def test_text_stays():
    text = "Zürich\n\t東京 – 12 °C 🙂"
    assert printable(text) == text


def test_lone_surrogates_can_be_printed():
    printable("\ud800").encode("utf-8")


def test_what_was_left_out_is_counted():
    assert shorten_text("abcdef", 4) == "abcd ... (2 more characters)"
    assert shorten_text("abcd", 4) == "abcd"
