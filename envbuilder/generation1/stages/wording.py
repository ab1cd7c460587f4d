"""Questions: how a chain, or several chains that are combined, is asked in English.

A chain is told either as one nested phrase ("the birthplace of the director of X") or in several sentences that lead
from thing to thing ("Take the director of X. ... that director ..."). Nothing but the first thing is ever named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from envbuilder.generation1.worlds import frames
from envbuilder.generation1.worlds.catalogue import ENTITY_KINDS
from envbuilder.generation1.worlds.operations import OPERATIONS
from envbuilder.generation1.worlds.schema import Relation

PEOPLE = "{first} {last}"
NESTED = 4
"""A sentence nests at most so many relations."""
LONG = 5
"""Words; what follows a longer subject is kept short, or the sentence is lost on the way."""
SHORT = 9
"""Characters that may follow a long subject in a question."""
LED = 0.1
"""Share of short chains that are told in two sentences all the same."""

_ASKS = re.compile(r"(?:What|Which|Who|Whom|Whose|When|Where|How|Is|In|On|At|Under|To|From|With|By|Between|Of|After) ")
_BLANK = re.compile(r"\{([opd])\}")
_AN = re.compile(r"\b([Aa]) (?=[aeiou])")
_THAT_OF = re.compile(r"the [a-z -]+? ((?:of|at|in|on|from|by|under|for|to|with) \{\}.*)")
_OWNED = re.compile(r"the ([a-z-]+(?: [a-z-]+){0,2}) of \{\}")
_OWNER = re.compile(r"that [a-z ]+|(?:the )?[A-Z][\w'-]+(?: [A-Z][\w'-]+){0,2}")
_UNIT = re.compile(
    r",? in (?:square |cubic )?(?:metres|kilometres|centimetres|millimetres|kilograms|grams|tonnes|hectares|litres|"
    r"minutes|megawatts|light years|kilometres an hour|florins)\b(?: an hour| a second)?"
)


@dataclass(frozen=True, slots=True)
class Link:
    """One hop of a chain, for wording: its relation, and the second key if it has one."""

    relation: Relation
    also: str | int | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """A thing that is named, and what is asked of it, link by link."""

    kind: str
    name: str
    links: tuple[Link, ...]


class Wording:
    """Draws formulations; `terse` keeps to the shortest."""

    def __init__(self, random: Random, terse: bool, invent: Callable[[str], str]) -> None:
        self._random = random
        self._terse = terse
        self._invent = invent

    # --- pieces --------------------------------------------------------------------------------------------------

    def choice(self, options: Sequence[str]) -> str:
        return options[0] if self._terse else options[int(self._random.random() * len(options))]

    def frame(self, options: Sequence[str]) -> str:
        """A frame with an occupation, a document and a person filled in."""
        text = self.choice(options)
        text = _BLANK.sub(lambda blank: self._filler(blank[1]), text)
        return _AN.sub(r"\1n ", text)

    def _filler(self, blank: str) -> str:
        if blank == "p":
            return self._invent("{first} {last}")
        return self.choice(frames.OCCUPATIONS if blank == "o" else frames.DOCUMENTS)

    def reference(self, kind: str, name: str) -> str:
        return name if self._terse else self.choice(ENTITY_KINDS[kind].refs).replace("{}", name)

    def phrase(self, link: Link, subject: str) -> str:
        """A noun phrase for a hop, more often a short one: phrases are nested."""
        options = link.relation.phrases
        if self._terse:
            return _filled(options[0], link, subject)
        if len(subject.split()) > LONG:
            template = min(options, key=_trailing)
        else:
            template = min(options, key=len) if self._random.random() < 0.6 else self.choice(options)
        owned = _OWNED.fullmatch(template)
        if owned and _OWNER.fullmatch(subject) and self._random.random() < 0.85:
            return f"{subject}'s {owned[1]}"
        return _filled(template, link, subject)

    def ask(self, link: Link, subject: str) -> str:
        """One direct question about a single hop."""
        if len(subject.split()) <= LONG or self._terse:
            return _filled(self.choice(link.relation.asks), link, subject)
        template = min(link.relation.asks, key=_trailing)
        if _trailing(template) <= SHORT:
            return _filled(template, link, subject)
        return f"{_word(link.relation)} is {self.phrase(link, subject)}?"

    # --- a chain -------------------------------------------------------------------------------------------------

    def lead(self, chain: Chain) -> tuple[list[str], str]:
        """Sentences that lead to the subject of the chain's last link, and what the last sentence calls it."""
        sentences: list[str] = []
        subject = self.reference(chain.kind, chain.name)
        links = chain.links[:-1]
        while links:
            size = self._segment(len(links))
            for link in links[:size]:
                subject = self.phrase(link, subject)
            links = links[size:]
            if links or (size > 1 and not self._terse and self._random.random() < LED):
                sentences.append(self.frame(frames.NEXT if sentences else frames.FIRST).replace("{}", subject))
                subject = f"that {_noun(chain.links[len(chain.links) - len(links) - 2].relation)}"
        return sentences, subject

    def _segment(self, left: int) -> int:
        """How many links the next sentence nests."""
        if left < NESTED and (self._terse or self._random.random() < 0.9):
            return left
        return min(left, 1 + int(self._random.random() * (NESTED - 1)))

    def chain_question(self, chain: Chain) -> str:
        """The whole question of a single chain."""
        sentences, subject = self.lead(chain)
        last = chain.links[-1]
        if self._terse or self._random.random() < 0.5:
            return self._opened([*sentences, self.ask(last, subject)])
        final = self.frame(frames.FRAMES).replace("{}", self.phrase(last, subject))
        text = " ".join([*sentences, final[0].upper() + final[1:]])
        return self.frame(frames.SENDERS) + text if sentences and self._random.random() < 0.4 else text

    def _opened(self, sentences: Sequence[str]) -> str:
        """Sentences as one text; a question may be preceded by a few words about who asks and why."""
        text = " ".join(sentences)
        if self._terse or self._random.random() < 0.2:
            return text
        if not _ASKS.match(text):
            return self.frame(frames.SENDERS) + text
        lead = self.frame(frames.SENDERS if self._random.random() < 0.4 else frames.LEADS)
        return lead[0].upper() + lead[1:] + lowered(text)

    # --- chains combined -----------------------------------------------------------------------------------------

    def ends(self, chains: Sequence[Chain]) -> tuple[list[str], list[str]]:
        """Sentences that lead up to the ends of the chains, and a phrase for each end.

        Where all ends are the same relation, later phrases may be "that of ...".
        """
        sentences: list[str] = []
        phrases: list[str] = []
        told: set[str] = set()
        same = len({(chain.links[-1].relation.id, chain.links[-1].also) for chain in chains}) == 1
        template = self.choice(chains[0].links[-1].relation.phrases)
        short = _THAT_OF.fullmatch(template)
        for chain in chains:
            lead, subject = self.lead(chain)
            if lead and subject in told:  # "that town" must not mean two towns
                lead, subject = [], self.nested(chain)
            told.add(subject)
            if lead and sentences and self._random.random() < 0.5:
                lead[0] = self.choice(frames.APART) + lowered(lead[0])
            sentences += lead
            link = chain.links[-1]
            if not same:
                phrases.append(self.phrase(link, subject))
            elif phrases and short and not subject.startswith("that "):
                phrases.append(_filled(f"that {short[1]}", link, subject))
            else:
                phrases.append(_filled(template, link, subject))
        return sentences, phrases

    def nested(self, chain: Chain) -> str:
        """The subject of the chain's last link as one phrase."""
        subject = self.reference(chain.kind, chain.name)
        for link in chain.links[:-1]:
            subject = self.phrase(link, subject)
        return subject

    def operation(self, operation: str, chains: Sequence[Chain], unit: str = "") -> str:
        """The question of a quantity that is computed from the ends of the chains."""
        sentences, phrases = self.ends(chains)
        template = self.choice(OPERATIONS[operation].asks)
        if unit or operation == "share":
            phrases = [_UNIT.sub("", phrase) for phrase in phrases]
        if len(phrases) == 3:
            phrases = [", ".join(phrases[:2]), phrases[2]]
        return self._opened([*sentences, template.format(*phrases, unit=unit)])

    def both(self, chains: Sequence[Chain]) -> str:
        """Independent questions, answered in one list."""
        asked = [self._asked(chain) for chain in chains]
        if len(asked) > 2:
            return " ".join([*asked, self.choice(frames.IN_ORDER)])
        text = self.frame(frames.BOTH).format(asked[0], lowered(asked[1]), asked[1])
        return f"{text} {self.choice(frames.IN_ORDER)}"

    def _asked(self, chain: Chain) -> str:
        return self.ask(chain.links[-1], self.nested(chain))

    def comparison(self, chains: Sequence[Chain], more: str, noun: str) -> str:
        """Which chain's last thing has more of the last relation, the same for both of them."""
        sentences, phrases = self.ends(chains)
        phrases = [_UNIT.sub("", phrase) for phrase in phrases]
        question = self.choice(frames.MORE).format(*phrases, more=more)
        return " ".join([self._opened([*sentences, question]), self.choice(frames.BY_NAME).format(noun=noun)])

    def arithmetic(self, chains: Sequence[Chain], operation: str) -> str:
        """A sum or a difference that the reader works out, without a tool."""
        sentences, phrases = self.ends(chains)
        return self._opened([*sentences, self.choice(OPERATIONS[operation].asks).format(*phrases)])


def lowered(sentence: str) -> str:
    """A sentence as it goes on after a comma."""
    return sentence[0].lower() + sentence[1:]


def format_answer(value: Any) -> str:
    """A value as a sub-answer is written."""
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _word(relation: Relation) -> str:
    """The question word for the answer to a relation."""
    return "Who" if relation.target and ENTITY_KINDS[relation.target].pattern == PEOPLE else "What"


def _trailing(template: str) -> int:
    return len(template.partition("{}")[2])


def _noun(relation: Relation) -> str:
    assert relation.target is not None
    return ENTITY_KINDS[relation.target].noun


def _filled(template: str, link: Link, subject: str) -> str:
    text = template.replace("{also}", str(link.also)).replace("{}", subject)
    return text.replace("that that ", "that this ")
