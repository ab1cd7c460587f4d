"""Questions: how a chain, or several chains that are combined, is asked as people ask an assistant.

A chain is told in at most three plain sentences that lead from thing to thing ("Take the docks where X was built. Who
runs that shipyard?"); no sentence nests more than two relations, and a noun stands for one thing only. Nothing but the
first thing is named. A third of the questions begin with a sentence that says why somebody asks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from envbuilder.worlds import frames
from envbuilder.worlds.catalogue import DOMAINS, ENTITY_KINDS
from envbuilder.worlds.operations import OPERATIONS
from envbuilder.worlds.schema import Fact, Listing

CONTEXTS = 0.33
"""Share of questions that say why somebody asks."""
SHORT = 5
"""Words; what is longer gets a sentence of its own before it is asked about."""
_HEAD = re.compile(
    r"(?:the|an?) ((?:[a-z-]+ )*?[a-z-]+)"
    r"(?= (?:of|who|whom|whose|that|which|where|in|with|behind|at|on|for|from|to|by|under)\b)"
)
_REMARKS = tuple(remark.partition("{}")[0] for remark in frames.REMARKS)
"""How a question begins that says already how somebody came to ask it."""
_VAGUE = frozenset(("one", "thing", "place", "name", "part", "work"))
PLAIN = 3
"""How many formulations of a list a terse question is drawn from."""
TAIL = 14
"""Characters that may follow a longer subject in a question."""
NESTED_TAIL = 1
"""Characters that may follow a subject with a clause of its own: its verb and that of the question would meet."""
_BEFORE_NOUN = re.compile(
    r"\b(?:of|to|by|at|in|on|for|from|with|behind|under|into|over|about|and|or|than|against) \{\}"
)
"""Where "that" cannot be read as the beginning of a clause."""


@dataclass(frozen=True, slots=True)
class Link:
    """One fact of a chain, for wording; `said` are what the question says of its options."""

    fact: Fact
    year: int | None = None
    said: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ListEnd:
    """What is asked of a thing's list: of the rows with a mark, their number, their sum or share, the one with most."""

    listing: Listing
    ask: str
    mark: str


@dataclass(frozen=True, slots=True)
class Chain:
    """A thing that is named (`ref` with all that tells it from others), links to other things, and an end."""

    kind: str
    ref: str
    links: tuple[Link, ...]
    end: Link | ListEnd

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of all things of the chain, in order."""
        return (self.kind, *(link.fact.target or "" for link in self.links))


class Wording:
    """Draws formulations; `terse` keeps to the plainest, which come first in each list."""

    def __init__(self, random: Random, terse: bool) -> None:
        self._random = random
        self._terse = terse
        self._used: set[str] = set()
        self._drawn: set[str] = set()
        self._phrases: dict[str, str] = {}

    def choice(self, options: Sequence[str]) -> str:
        count = min(len(options), PLAIN) if self._terse else len(options)
        return options[int(self._random.random() * count)]

    def other(self, options: Sequence[str]) -> str:
        """One that this question does not have yet, where there is one."""
        plain = options[:PLAIN] if self._terse else options
        chosen = self.choice([option for option in plain if option not in self._drawn] or plain)
        self._drawn.add(chosen)
        return chosen

    # --- pieces --------------------------------------------------------------------------------------------------

    def ask(self, link: Link, subject: str) -> str:
        """One direct question about a thing that is called by a few words."""
        return self._with_said(_filled(self.choice(link.fact.asks), link, subject), link.said)

    def _with_said(self, question: str, said: Sequence[str], count: int = 1, apart: bool = False) -> str:
        """A question and a sentence on what is said of its options: of `count` ends together, or, `apart`, of this
        question of several alone."""
        if not said:
            return question
        state, *periods = said
        used = self.other(frames.USE).replace("{}", state)
        if count > 1:
            used = f"{self.choice(frames.TWO if count == 2 else frames.ALL)} {_lowered(used)}"
        elif apart:
            used = f"{self.other(frames.APART)} {_lowered(used)}"
        return " ".join([question, used, *(self.choice(frames.PERIOD).replace("{}", period) for period in periods)])

    def phrase(self, link: Link, subject: str, nested: bool = False) -> str:
        """A noun phrase for what a link leads to; one that ends with a long or `nested` subject, where there is one."""
        options = _with_clear_year(link.fact.phrases, nested)
        if nested or _is_long(subject):
            options = tuple(option for option in options if option.endswith("{}")) or options
        chosen = self._phrases.get(link.fact.id)  # one quantity has one name in a question
        if chosen not in options:
            chosen = self._phrases[link.fact.id] = self.choice(options)
        return _filled(chosen, link, subject)

    def _can_nest(self, link: Link) -> bool:
        return any(option.endswith("{}") for option in link.fact.phrases)

    def _closes(self, end: Link | ListEnd) -> bool:
        """Whether what is asked can end with a subject that has a clause of its own: rows have clauses themselves."""
        return isinstance(end, Link) and (self._terse or self._can_nest(end))

    def lead(self, chain: Chain, first: Sequence[str] = frames.FIRST, nested: bool = False) -> tuple[list[str], str]:
        """Sentences that lead to the last thing of a chain, and what the question calls it: a few words.

        `nested`: the last link stays part of the question, so that "that yard" is not said of a chain's last thing.
        """
        links = [*chain.links]
        if not links:
            return [], chain.ref
        sentences: list[str] = []
        kept = nested or self._terse or self._random.random() < 0.35
        subject, kept = chain.ref, kept and (nested or self._closes(chain.end))
        if _is_long(chain.ref):
            sentences.append(self._tell(chain.ref, sentences, first))
            said = ENTITY_KINDS[chain.kind].said
            subject = f"that {next((word for word in chain.ref.split() if word in said), said[0])}"
        while len(links) > kept:
            told = [links.pop(0)]
            if len(links) > kept and self._can_nest(links[0]) and self._random.random() < 0.6:
                told.append(links.pop(0))
            for link in told:
                subject = self.phrase(link, subject)
            sentences.append(self._tell(subject, sentences, first))
            subject = self._called(subject, told[-1].fact.target or "", sentences)
        for link in links:
            subject = self.phrase(link, subject)
        return sentences, subject

    def _tell(self, subject: str, sentences: Sequence[str], first: Sequence[str]) -> str:
        """A sentence that leads to a subject, behind others that lead there; `first` are those that may begin."""
        if not sentences:
            return self.other(first).replace("{}", subject)
        leads_on = frames.AFTER_REMARK if sentences[-1].startswith(_REMARKS) else frames.NEXT
        return self.other(leads_on).replace("{}", subject)

    def _called(self, phrase: str, kind: str, sentences: Sequence[str]) -> str:
        """What a thing that was just led to is called: by the noun of the phrase, where it has not been used yet, and
        with what stands before it there ("that first film") where another such thing was mentioned."""
        said, head = ENTITY_KINDS[kind].said, _HEAD.match(phrase)
        words = head[1].split() if head else [said[0]]
        noun = next((word for word in words if word in said), words[-1])
        if noun in self._used or noun in _VAGUE or noun.endswith("ed"):
            noun = said[0]
        self._used.add(noun)
        mentions = re.findall(rf"\b{re.escape(noun)}\b", " ".join(sentences))
        return f"that {' '.join(words) if words[-1] == noun and len(mentions) > 1 else noun}"

    def end(self, chain: Chain, subject: str, apart: bool = False) -> str:
        """The question about a chain's last thing; `apart`: what is said of its options holds for no other question."""
        if isinstance(chain.end, ListEnd):
            return self._of_list(chain.end, subject)
        long, nested = _is_long(subject), _is_nested(chain, subject)
        most = NESTED_TAIL if nested else TAIL if long else 1_000
        asks = [ask for ask in _with_clear_year(chain.end.fact.asks, nested) if _tail(ask) <= most]
        framed = chain.end.fact.target is None and not self._terse and self._random.random() < 0.2
        if not asks or framed:
            text = self.other(frames.FRAMES).replace("{}", self.phrase(chain.end, subject, nested))
        else:
            text = _filled(self.choice(asks), chain.end, subject)
        return self._with_said(text, chain.end.said, apart=apart)

    def _of_list(self, end: ListEnd, subject: str) -> str:
        listing = end.listing
        templates = {"count": frames.COUNT, "total": frames.TOTAL, "share": frames.SHARE}.get(end.ask, frames.MOST)
        most = {"most": listing.most, "least": listing.least, "second": f"second {listing.most}"}.get(end.ask, "")
        return self.other(templates).format(
            rows=self.choice(listing.rows),
            of=self.choice(listing.of).replace("{}", subject).replace("that that ", "that this "),
            mark=end.mark,
            most=most,
            called=listing.called,
            amount=listing.amount,
            total=listing.total_asked,
        )

    # --- whole questions -----------------------------------------------------------------------------------------

    def chain_question(self, chain: Chain) -> str:
        sentences, subject = self.lead(chain, nested=False)
        return self._whole(chain, [*sentences, self.end(chain, subject)])

    def operation(self, operation: str, chains: Sequence[Chain], unit: str = "", rounded: bool = False) -> str:
        """The question of a quantity that is computed from the ends of the chains; `rounded`: to two decimals."""
        sentences, phrases, said = self._ends(chains)
        past = any(isinstance(chain.end, Link) and chain.end.year for chain in chains)
        tense = "was" if past else "is"
        template = self.choice(OPERATIONS[operation].asks).replace("{is}", tense)
        asked = _capital(template.format(*_paired(phrases), unit=unit))
        exact = [self.choice(frames.ROUNDED)] if rounded else []
        return self._whole(chains[0], [*sentences, self._with_said(asked, said, len(chains)), *exact])

    def both(self, chains: Sequence[Chain]) -> str:
        """Independent questions, answered in one list."""
        asked = []
        apart = len({chain.end.said if isinstance(chain.end, Link) else () for chain in chains}) > 1
        for chain, first in zip(chains, (frames.FIRST, frames.SECOND, frames.THIRD), strict=False):
            sentences, subject = self.lead(chain, first)
            asked.append(" ".join([*sentences, self.end(chain, subject, apart)]))
        related = len({ENTITY_KINDS[chain.kind].domain for chain in chains}) == 1
        plain = len(chains) == 2 and not any(chain.links for chain in chains)
        text = self.choice(frames.BOTH).format(asked[0], _lowered(asked[1]), asked[1]) if plain else " ".join(asked)
        return self._whole(chains[0], [text, frames.IN_ORDER] if self._terse else [text], related)

    def comparison(self, chains: Sequence[Chain], more: str) -> str:
        """Which chain's last thing has more of the fact that both end in."""
        end = chains[0].end
        assert isinstance(end, Link)
        subjects, sentences = self._subjects(chains)
        predicate = more.replace("{year}", str(end.year))
        is_person = ENTITY_KINDS[end.fact.kind].is_person
        template = self.choice(frames.WHICH).replace("hich {more}", "ho {more}" if is_person else "hich {more}")
        asked = _capital(template.format(*subjects, more=predicate))
        named = frames.BY_PERSON if is_person else frames.BY_NAME
        return self._whole(chains[0], [*sentences, self._with_said(asked, end.said, 2), self.choice(named)])

    def _subjects(self, chains: Sequence[Chain]) -> tuple[list[str], list[str]]:
        """What the last things of chains are called in one question, and the sentences that lead there."""
        subjects: list[str] = []
        sentences: list[str] = []
        ends = [chain.kinds[-1] for chain in chains]
        for chain in chains:
            first = frames.ALSO if sentences else frames.FIRST
            lead, subject = self.lead(chain, first, nested=ends.count(chain.kinds[-1]) > 1)
            sentences += lead
            subjects.append(subject)
        return subjects, sentences

    def _ends(self, chains: Sequence[Chain]) -> tuple[list[str], list[str], tuple[str, ...]]:
        """Sentences that lead up to the ends of the chains, a phrase for each end, and what is said of all of them.

        What is said of one end only stands behind its phrase, in brackets.
        """
        subjects, sentences = self._subjects(chains)
        ends = [chain.end for chain in chains if isinstance(chain.end, Link)]
        said = ends[0].said if all(end.said == ends[0].said for end in ends) else ()
        alone = "" if all(end.said for end in ends) else f"{_lowered(frames.APART[0])} "
        phrases = [
            self.phrase(end, subject, _is_nested(chain, subject))
            + (f" ({alone}{'; '.join(end.said)})" if end.said and not said else "")
            for chain, end, subject in zip(chains, ends, subjects, strict=True)
        ]
        return sentences, phrases, said

    def _whole(self, chain: Chain, sentences: Sequence[str], related: bool = True) -> str:
        """Sentences as one text; some questions about `related` things say first why somebody asks."""
        text = " ".join(sentences)
        if self._terse or self._random.random() >= CONTEXTS or not related:
            return text
        if text.startswith(_REMARKS):  # one reason for asking is enough
            return text
        contexts = (*DOMAINS[ENTITY_KINDS[chain.kind].domain].contexts, *frames.CONTEXTS)
        return f"{self.choice(contexts)} {text}"


def format_answer(value: Any) -> str:
    """A value as a sub-answer is written."""
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _paired(phrases: Sequence[str]) -> list[str]:
    """Phrases for a template of two: of three, the first two are listed."""
    return [", ".join(phrases[:-1]), phrases[-1]] if len(phrases) > 2 else list(phrases)


def _filled(template: str, link: Link, subject: str) -> str:
    if subject.startswith("that ") and not template.startswith("{}") and not _BEFORE_NOUN.search(template):
        subject = f"this {subject.removeprefix('that ')}"  # "the college that judge went to" begins like a clause
    return template.replace("{year}", str(link.year)).replace("{}", subject).replace(" for for ", " for ")


def _is_long(subject: str) -> bool:
    """Whether a subject is too long to stand in the middle of a sentence; a reference in brackets does not count."""
    return "(the one " in subject or len(subject.partition(" (")[0].split()) > SHORT


def _is_nested(chain: Chain, subject: str) -> bool:
    """Whether a chain's last thing is called by a phrase with a clause of its own, not by its name or "that yard"."""
    return bool(chain.links) and not subject.startswith("that ")


def _with_clear_year(options: Sequence[str], nested: bool) -> tuple[str, ...]:
    """Formulations in which the year cannot be read as part of a nested subject: "the bank that backed it in 1966"."""
    clear = tuple(option for option in options if "{} in {year}" not in option)
    return clear if nested and clear else tuple(options)


def _tail(ask: str) -> int:
    return len(ask.partition("{}")[2])


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _lowered(sentence: str) -> str:
    """A sentence as it goes on after a comma."""
    return sentence if sentence.startswith(("I ", "I'")) else sentence[0].lower() + sentence[1:]
