"""Which text of a final message is its answer.

What: the last marked answer: a line that begins with "Answer:" or the like, the line or the list after such a label,
\\boxed{}, <answer>, {"answer": ...} or "#### ". Where nothing is marked, the last sentence.
Left out: answers given only in the middle of a text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

MAX_READ = 20_000
"""Characters at the end of a message that are read: an answer stands there."""


class Reading(NamedTuple):
    text: str
    is_marked: bool
    before: str = ""
    """The sentence or line before the last sentence, where nothing is marked."""
    is_listed: bool = False
    """The last sentence is an item or a fragment, as is what stands before it: one of several candidates."""


_ORNAMENT = r"(?:</?[a-z]\w{0,9}(?:\s[^<>]{0,100})?/?>|\d{1,2}[.)](?=\s)|[^\w<]|_|<)*+"
_WORDS = (
    "answers?|antwort|réponse|reponse|respuesta|risposta|resposta|antwoord|svar|vastaus|odpowiedź|"
    "ответ|答案|答え|回答|답"
)
_LABEL = re.compile(
    rf"""(?:^|(?<=[.!?])\s){_ORNAMENT}
    (?:(?:so|thus|hence|therefore|and|my|the|our|here\s+is|this\s+is)[\s,]+)*+
    (?:(?:final|correct|right|short|exact)\s+)*+
    (?:{_WORDS})(?P<close>(?:</?[a-z]{{1,10}}>|[*_`"'\])\s])*+)
    (?:(?:is|ist|est|es)\b\s*[:=]?|[:：=|]|(?<=\s)[-–—](?=\s)|$)(?P<value>.*)""",
    re.IGNORECASE | re.VERBOSE,
)
_BULLET = re.compile(r"\s*(?:[-*•+·–]|\d{1,2}[.)])\s+(?=\S)")
_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_TAGGED = re.compile(r"<(final_answer|answer)>\s*(.*?)\s*</\1>", re.IGNORECASE | re.DOTALL)
_HASHES = re.compile(r"^#{4}[ \t]+(\S.*)$", re.MULTILINE)
_PLACEHOLDER = re.compile(
    r"[\W_]*(?:(?:your|the|insert|final)\s+(?:final\s+)?(?:answer|value|result)(?:\s+here)?|answer)?[\W_]*",
    re.IGNORECASE,
)
_PARTING = re.compile(
    r"\W*(?:let me know|i hope|hope (?:this|that|it)|feel free|please (?:let|feel)|if you (?:need|have|want|would)|"
    r"is there anything|would you like|do you (?:need|want)|thank|happy to|\(?format)",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<![A-Z])(?<!\b[DM]r)(?<!\bMrs)(?<!\bSt)(?<!\bNo)(?<!\bProf)[.!?]['\")*]*\s+(?=\W*[A-Z0-9])")


def read_final(text: str) -> Reading:
    """The answer of a final message as a text, in plain letters."""
    text = text[-MAX_READ:]
    marked = max(_marked(text), default=None)
    if marked is not None:
        return Reading(plain(_without_parting(marked[1])), True)
    last, before = _last_sentences([line for line in text.split("\n") if line.strip()])
    listed = _is_fragment(last) and _is_fragment(before) and plain(last) != plain(before)
    return Reading(plain(_BULLET.sub("", last, count=1)), False, plain(before), listed)


def _marked(text: str) -> Iterator[tuple[int, str]]:
    """Every marked answer that is no placeholder, with its place."""
    lines = text.split("\n")
    place = 0
    for index, line in enumerate(lines):
        for value in _labelled(line, lines, index):
            if not _PLACEHOLDER.fullmatch(value):
                yield place, value
        place += len(line) + 1
    for match in (*_BOXED.finditer(text), *_HASHES.finditer(text)):
        yield match.end(), match[1]
    for match in _TAGGED.finditer(text):
        yield match.end(), match[2]
    yield from _in_json(text)


def _labelled(line: str, lines: list[str], index: int) -> Iterator[str]:
    if not (match := _LABEL.search(line)):
        return
    while later := _LABEL.search(line, match.start("value")):
        match = later
    value = match["value"]
    yield value if not _PLACEHOLDER.fullmatch(value) or value.strip(" \t*_`|#>") else _below(lines[index + 1 :])


def _below(lines: list[str]) -> str:
    """What stands under a label: the first line that says something, and with a bullet all of its list."""
    start = next((number for number, line in enumerate(lines[:5]) if line.strip(" \t*_`|#>-")), None)
    if start is None:
        return ""
    if not _BULLET.match(lines[start]):
        return lines[start]
    items = []
    for line in lines[start:]:
        if not _BULLET.match(line):
            break
        items.append(_BULLET.sub("", line, count=1).strip())
    return ", ".join(items)


def _in_json(text: str) -> Iterator[tuple[int, str]]:
    body = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    if not (body.startswith("{") and body.endswith("}")):
        return
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return
    for key in ("answer", "final_answer", "Answer"):
        if isinstance(found := value.get(key), (str, int, float, list)):
            yield len(text), ", ".join(map(str, found)) if isinstance(found, list) else str(found)


def _last_sentences(lines: list[str]) -> tuple[str, str]:
    """The last sentence that is no parting word, and the one before it; both with their bullets."""
    found: list[str] = []
    for line in reversed(lines):
        for sentence in reversed(_SENTENCE.split(line)):
            if sentence.strip() and (found or not _PARTING.match(sentence)):
                found.append(sentence)
            if len(found) == 2:
                return found[0], found[1]
    return (found[0] if found else ""), ""


_VERB = re.compile(
    r"\b(?:is|are|was|were|be|has|have|had|does?|did|[a-z]{3,}ed|here|sure|done|found|final|result)\b", re.IGNORECASE
)


def _is_fragment(text: str) -> bool:
    """Whether a line is an item of a list, or a few words without a verb that lead to nothing."""
    if _BULLET.match(text):
        return True
    return 0 < len(text.split()) < 5 and not _VERB.search(text) and text.rstrip(" *_")[-1:] not in (":", "!", "")


def _without_parting(value: str) -> str:
    return next((value[: end.start()] for end in _SENTENCE.finditer(value) if _PARTING.match(value, end.end())), value)


# --- LaTeX and markdown ------------------------------------------------------------------------------------------

_COMMAND = re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|it)|operatorname|mbox)\s*\{([^{}]*)\}")
_FRACTION = re.compile(r"\\d?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_REPLACED = (
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\^\s*\{?\s*\\circ\s*\}?"), "°"),
    (re.compile(r"\\(?:approx|sim)\b"), "~"),
    (re.compile(r"\\[,;:! ]"), " "),
    (re.compile(r"\\([$%#&_{}])"), r"\1"),
    (re.compile(r"\\[()\[\]]"), " "),
    (re.compile(r"</?[a-zA-Z]\w{0,9}(?:\s[^<>]{0,100})?/?>"), ""),
    (re.compile(r"\*\*|__|`"), ""),
)
_MATH = re.compile(r"(?<!\\)\$\$?([^$]+?)(?<!\\)\$\$?(?!\d)")


def plain(text: str) -> str:
    """A text without LaTeX and markdown around its words."""
    text = _BOXED.sub(r"\1", text)
    text = _MATH.sub(r"\1", text)
    text = _FRACTION.sub(r"\1/\2", _COMMAND.sub(r"\1", text))
    for pattern, by in _REPLACED:
        text = pattern.sub(by, text)
    return text.strip(" \t\r\n*_|~#\"'“”")
