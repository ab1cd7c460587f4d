"""Whether the final message gives the right answer.

Built prompts ask for a last line "Answer: ..."; there the marked answer must be the gold answer and say nothing else
(answer_accuracy). Released prompts ask for nothing, so a last sentence that states it is enough
(answer_accuracy_lenient): the two have different names and are never averaged together.
Left out: knowledge. "Rome, Italy" is not "Rome", and a judge that thinks otherwise is not this one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.scoring.asked import read_as_asked
from harness.scoring.final_message import Reading, read_final
from harness.scoring.fold import fold
from harness.scoring.leaves import leaf
from harness.scoring.normalise import Tokens, tokens, without_articles
from harness.scoring.numbers import WORD_VALUES, is_long, rounds_to
from harness.scoring.phrases import TITLES, is_empty, parts, stated_at, ways
from harness.scoring.units import CURRENCIES
from harness.types import Sample, Scores, Trajectory


def answer_scores(sample: Sample, trajectory: Trajectory) -> Scores:
    """{answer_accuracy: 0 or 1} or {answer_accuracy_lenient: 0 or 1}; empty when there is no gold answer."""
    gold = sample.gold.answer
    if gold is None or is_empty(gold):
        return {}
    text = final_text(trajectory)
    reading = None if text is None else read_final(text)
    question = "\n".join(message.content for message in sample.messages if message.role == "user")
    readings = [reading, reading._replace(text=read_as_asked(reading.text, gold, question))] if reading else []
    if asks_for_answer_line(sample):
        return {"answer_accuracy": float(any(one.is_marked and same_answer(one.text, gold) for one in readings))}
    return {"answer_accuracy_lenient": float(any(_gives(one, gold) for one in readings))}


def answer_read(sample: Sample, trajectory: Trajectory) -> str | None:
    """The text that was taken for the answer; None where there was none to take, or no gold to compare it with."""
    text = final_text(trajectory)
    if text is None or sample.gold.answer is None or is_empty(sample.gold.answer):
        return None
    reading = read_final(text)
    return reading.text if reading.is_marked or not asks_for_answer_line(sample) else None


def asks_for_answer_line(sample: Sample) -> bool:
    return any(message.role in ("user", "system") and "Answer:" in message.content for message in sample.messages)


def final_text(trajectory: Trajectory) -> str | None:
    """The last message without its reasoning, if the model ended by speaking; None if it ended otherwise."""
    last = trajectory.messages[-1] if trajectory.messages else None
    if last is None or last.role != "assistant" or last.tool_calls:
        return None
    spoken = last.content.rpartition("</think>")[2]
    return spoken.partition("<think>")[0]  # reasoning that was never closed


# --- one text that should be the answer and nothing else ---------------------------------------------------------

LONGEST = 1_000
"""Characters of an answer beside those of the gold answer: what is longer answers nothing."""
_REMARK = re.compile(
    r"\s*[(\[][^()\[\]]*[)\]]\s*(?=[.!]?$)|"
    r"(?:,?\s+(?:because|since|as it|which|who|where|due to)\b|\s+[-–—]\s+(?=[A-Za-z])).*$"
)
_LEAD = re.compile(r"^([^\d\"{}]*?\b(?:is|are|was|were|equals|be)|[^\"{}]*[=≈]|[^\d\"{}]*?:)\s+(?=\S)", re.IGNORECASE)
_ABOUT = re.compile(
    r"^(?:(?:in|on|at|by|approximately|approx\.?|about|around|roughly|circa|ca\.|exactly|simply|just)\s+|[~≈=]\s*)+",
    re.IGNORECASE,
)
_DOUBT = re.compile(
    r"\b(?:or|either|maybe|perhaps|possibly|probably|might|may\s+be|not|no|never|neither|nor|cannot|unable|unknown|unsure|unclear|"
    r"if|whether|guess(?:es|ing)?|candidates?|could|options?|[a-z]+n't|likely|alternatively|uncertain|though|assum(?:e|ed|ing)|"
    r"doubt(?:s|ful)?)\b|\?",
    re.IGNORECASE,
)
_NO_UNIT = re.compile(
    r"\b(?:or|and|not|maybe|perhaps|possibly|to|if|but|at|than|plus|minus|wrong|false|more|less|hundred|dozen|"
    r"bce?|below|above|under|over|fewer|minimum|maximum|min\.|max|squared|cubed|likely|though|uncertain)\b"
)
_POWER = re.compile(r"[cdkm]?m[23]")
"""Squares and cubes of metres: m2, cm3."""
_OPEN_END = re.compile(r"\d\s*\+\W*$|^[^\w<>≤≥]*[<>≤≥]\s*=?\s*[$€£]?[-\d]")
_NOT_ANOTHER = re.compile(
    r"(?:,\s+not|\s*\(not)\s+(?!sure|certain|known|confirmed|verified|found|listed|clear)[^,;()]+?\)?(?=[.!]?$)"
)
_NAME = re.compile(r"[A-Z][\w'.-]*(?:\s+[A-Z][\w'.-]*)*")
_WEEKDAYS = frozenset(
    [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
        "mon",
        "tue",
        "wed",
        "thu",
        "fri",
        "sat",
        "sun",
    ]
)


def same_answer(text: str, gold: str) -> bool:
    """Whether a text is the answer and nothing else, remarks, units of a bare number and a lead-in aside."""
    if len(text) > LONGEST + 2 * len(gold):
        return False
    if re.search(r"\?\W*$", text) and not gold.rstrip().endswith("?"):
        return False
    return not _OPEN_END.search(text) and any(_equals(reading, gold) for reading in _readings(text))


def _readings(text: str) -> Iterator[str]:
    yield text
    text = _NOT_ANOTHER.sub("", text)
    bare = _REMARK.sub(lambda remark: "" if _is_remark(remark) else remark.group(), text)
    yield bare
    bare = _ABOUT.sub("", bare)
    yield bare
    lead = _LEAD.match(bare)
    if lead and not _DOUBT.search(lead.group()):
        yield _ABOUT.sub("", bare[lead.end() :])


def _is_remark(remark: re.Match[str]) -> bool:
    """Whether an end says more about the answer, and is neither a doubt nor another candidate: Lund (Oslo), 17 (18)."""
    said, before = remark.group(), remark.string[: remark.start()]
    inner = said.strip(" ()[].,-–—")
    is_rival = (_NAME.fullmatch(inner) and before.strip()[-1:].isalpha()) or (
        inner.isdigit() and _has_digit_end(before)
    )
    return not (_DOUBT.search(said) or (said.strip()[:1] in "([" and is_rival))


def _has_digit_end(text: str) -> bool:
    return text.rstrip()[-1:].isdigit()


def _equals(text: str, gold: str) -> bool:
    pieces = parts(gold)
    if len(pieces) == 1:
        return _is(text, gold)
    return _glued(text) == _glued(gold) or _is(text, gold) or _same_parts(_items(text), pieces, ";" in gold)


def _glued(text: str) -> str:
    return re.sub(r"\s*,\s*", ",", fold(text).low.strip(" ."))


def _items(text: str) -> list[str]:
    return [
        item
        for part in parts(text.strip("[](){}. "))
        for item in re.split(r"^and\s+|\s+and\s+|\n", part)
        if tokens(item)
    ]


def _same_parts(found: list[str], wanted: list[str], any_order: bool) -> bool:
    """Part by part. Parts of one kind (numbers, dates, words) keep their order, or nobody knows which is which; parts
    of different kinds tell themselves apart, and a gold answer with ";" is a set."""
    wanted = [part for part in wanted if tokens(part)]
    if len(found) != len(wanted):
        return False
    if any_order:
        found, wanted = sorted(found, key=tokens), sorted(wanted, key=tokens)
    kinds = {_kind(part) for part in wanted}
    return all(
        len(ours := [part for part in found if _kind(part) == kind])
        == len(theirs := [part for part in wanted if _kind(part) == kind])
        and all(map(_is, ours, theirs))
        for kind in kinds
    )


def _kind(part: str) -> str:
    first = (without_articles(tokens(part)) or ("",))[0]
    return first[:1] if first[:1] in ("#", "@") else "#" if first in WORD_VALUES else "words"


def _is(text: str, gold: str) -> bool:
    found = _content(text)
    wants = [phrase for phrase in ways(gold)[0] if not phrase.is_bare]
    if any(_match(phrase.tokens, found) and not (phrase.comma and "," not in text) for phrase in wants):
        return True
    wanted = _content(gold)
    if _match(wanted, found) or _letters(wanted) == _letters(found) != "":
        return True
    return (
        len(wanted) == 1
        and wanted[0][0] == "#"
        and bool(found)
        and _match(wanted, found[:1])
        and _is_unit(text, found[1:])
    )


def _content(text: str) -> Tokens:
    raw = tokens(text)
    kept = without_articles(raw) or raw
    if len(kept) > 2 and kept[0] in TITLES:
        return kept[1:]
    if len(kept) == 2 and kept[0] in _WEEKDAYS and kept[1][0] == "@":
        return kept[1:]
    return kept


def _match(wanted: Tokens, found: Tokens) -> bool:
    return len(wanted) == len(found) and all(
        one == other or (other[0] == "#" == one[0] and is_long(other) and rounds_to(other, one))
        for one, other in zip(wanted, found, strict=True)
    )


def _letters(content: Tokens) -> str:
    return "".join(content) if all(token.isalpha() for token in content) else ""


def _is_unit(text: str, rest: Tokens) -> bool:
    """Whether what follows a number only says of what: 173 camps, 70 USD, but not 173 % and not 173 or so."""
    words = all(token.isalpha() or _POWER.fullmatch(token) for token in rest) and "%" not in rest
    return words and len(rest) <= 3 and not _NO_UNIT.search(text.lower())


# --- a sentence that states the answer ---------------------------------------------------------------------------

_TURN = re.compile(r"\b(?:but|however|actually|instead|rather(?!\s+than))\b[\s,]*", re.IGNORECASE)


_NO_SENTENCE = re.compile(r"[{}|\[\]]|\w=\w|\?\W*$|\s/\s|->|→")
_DUMP = re.compile(
    r"\b\w+:\s.*\b\w+:\s|\b(?:is|are|was|were)\b(?!\s+(?:wrong|incorrect|false|not))[^,;]*"
    r"(?:[,;]\s*(?:and\s+|while\s+)?|\s+while\s+)(?!which|who|that|where|because|since|as)"
    r"[^,;]*\b(?:is|are|was|were)\b|\bthen\b.*\bthen\b|\bfollowed by\b"
)
"""Several facts in one sentence: town: Oslo, mayor: Ann; the town is Oslo, the mayor is Ann."""
_UNSURE = re.compile(
    r"\b(?:seems?|insufficient|failed|missing|lacks?|need to check|impossible|plausible)\b", re.IGNORECASE
)
_UNSURE_BEFORE = re.compile(
    r"\b(?:(?:could|can)(?:not|n't| not)|unable|unsure|not sure|uncertain|insufficient|failed|"
    r"missing|doubt|assum(?:e|ing)|guess(?:ing)?|"
    r"no (?:data|records?|information|results?|answer))\b",
    re.IGNORECASE,
)
_NOT_IT = re.compile(
    r"\b(?:than|in contrast to|compared (?:to|with)|unlike|excludes?)\s+(?:(?:that of|the|in)\s+)*$", re.IGNORECASE
)


def _gives(reading: Reading, gold: str) -> bool:
    """Whether a sentence states the answer, without doubt and without another candidate beside it."""
    if reading.is_listed or (not reading.is_marked and _UNSURE_BEFORE.search(reading.before)):
        return False
    if same_answer(reading.text, gold):
        return True
    if len(reading.text) > LONGEST + 2 * len(gold):
        return False
    sentence = _NOT_ANOTHER.sub("", _TURN.split(reading.text)[-1])
    if _NO_SENTENCE.search(sentence):
        return False
    pieces = [part for part in parts(gold) if tokens(part)]
    beside = _without(sentence, gold)
    if _DOUBT.search(beside) or _UNSURE.search(beside) or (len(pieces) == 1 and _DUMP.search(sentence)):
        return False
    one = leaf(sentence)
    whole = stated_at(one, gold)
    if whole is not None:
        before, after = one.folded.shown[: whole[0]], one.folded.shown[whole[1] :]
        if _NOT_IT.search(before) and not stated_at(leaf(after), gold):
            return False
        return not _has_rival(one.folded.shown, one.tokens, whole, gold, len(pieces) > 1)
    places = [stated_at(one, part) for part in pieces] if len(pieces) > 1 else [None]
    if not all(places):
        return False
    spans = [place for place in places if place]
    ordered = ";" in gold or all(
        first < second
        for index, (first, kind) in enumerate(zip(spans, map(_kind, pieces), strict=True))
        for second, other in list(zip(spans, map(_kind, pieces), strict=True))[index + 1 :]
        if kind == other
    )
    return ordered and not _has_rival(one.folded.shown, one.tokens, (min(spans)[0], max(spans)[1]), gold, True)


def _without(sentence: str, gold: str) -> str:
    return re.sub(re.escape(gold), "", sentence, flags=re.IGNORECASE)


_LISTED_BEFORE = re.compile(r"(?:\b[A-Z0-9][\w'.-]*[,;]|\band|&)\s*$")
_LISTED_AFTER = re.compile(r"\s*(?:,?\s+and|,?\s*&)\s+[A-Z0-9]|[,;]\s*[A-Z0-9][^,;]*(?:[,;]|\s+and\b)|'s\b")
_GOES_ON = re.compile(r"\s*,\s*(?:and\s+)?[A-Z0-9]|\s+and\s+[A-Z0-9]")


# Capitals that go on beside the answer make another name of it, or a row of names.
_NAME_BEFORE = re.compile(
    r"(?<=[\w,;:)] )(?!(?:The|A|An|Dr|Mr|Mrs|Ms|Prof|Professor|Sir|Saint|St)\b)[A-Z][\w'-]*\.? $|[\w)]  +$"
)
_NAME_AFTER = re.compile(r" +[A-Z]\w")


def _has_rival(shown: str, found: Tokens, place: tuple[int, int], gold: str, is_list: bool) -> bool:
    """Whether the answer is one of several that are listed, or not the only number or date."""
    before, after = shown[: place[0]], shown[place[1] :]
    if _NAME_BEFORE.search(before) or _NAME_AFTER.match(after):
        return True
    if _LISTED_BEFORE.search(before) or (_GOES_ON if is_list else _LISTED_AFTER).match(after):
        return True
    own = tokens(gold)
    kinds = {token[0] for token in own if token[0] in "#@"}
    years = {len(token) for token in own}
    return any(
        token[0] in kinds and token not in own and (token[0] == "@" or (len(token) == 5) == (5 in years))
        for token in found
        if token not in CURRENCIES
    )
