"""Whether the words of a question give its tool away: shared stems between what is said and what is filed.

Two words share a stem when the shorter begins the longer, or when their first five letters agree: cruder than any
stemmer, so that no stemmer finds a pair that this one misses. Words under three letters and stop words are no content.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from envbuilder.worlds.schema import Domain, EntityKind, Fact, Listing

STEM = 5
_WORD = re.compile(r"[a-z]+")
_BLANK = re.compile(r"\{[^}]*\}")
STOP_WORDS = frozenset(
    re.split(
        r" ",
        "all and any are but day did for get got had has her his how its not off one out per the two was who why you "
        "also been came come date days does each ever from gave give have into last less made make many more most "
        "much name once only onto over same some such take than that them then they this time took were what when "
        "whom with year your about above after among being below first given least names other place still taken "
        "their there these thing those under until where which whose years before behind during number people person "
        "another between",
    )
)


def content_words(*texts: str) -> frozenset[str]:
    """The words of texts that could give something away, lower case; underscores and camel case separate words."""
    parts = " ".join(_BLANK.sub(" ", text) for text in texts)
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", parts)
    return frozenset(word for word in _WORD.findall(parts.casefold()) if len(word) > 2 and word not in STOP_WORDS)


def share_stem(one: str, other: str) -> bool:
    """Whether two words begin alike."""
    size = min(len(one), len(other), STEM)
    return one[:size] == other[:size]


def shared_stems(said: Iterable[str], filed: Iterable[str]) -> list[tuple[str, str]]:
    """The pairs of words that share a stem, in order."""
    filed = sorted(filed)
    return [(one, other) for one in sorted(said) for other in filed if share_stem(one, other)]


def find_giveaways(domain: Domain) -> Iterator[str]:
    """One sentence for each stem that the question side of a fact, trait or list shares with its tool side."""
    for kind in domain.kinds:
        around = content_words(kind.filed, kind.filed_plural, *kind.parameters, *kind.tools, *domain.providers)
        yield from _told(f"{kind.id}", content_words(*kind.said, *kind.refs), around)
        for fact in kind.facts:
            said = content_words(*fact.asks, *fact.phrases, *fact.compare)
            yield from _told(fact.id, said, around | content_words(fact.key, fact.filed))
        for trait in kind.traits:
            yield from _told(f"{kind.id}.{trait.key}", content_words(trait.said), content_words(trait.key, trait.filed))
        for listing in kind.lists:
            yield from _of_listing(kind, listing, around)


def _of_listing(kind: EntityKind, listing: Listing, around: frozenset[str]) -> Iterator[str]:
    where = f"{kind.id}.{listing.key}"
    said = content_words(*listing.rows, *listing.of, listing.total_asked, listing.amount, listing.most, listing.least)
    keys = (listing.key, listing.label_key, listing.measure_key, listing.mark_key)
    texts = (listing.filed, listing.label_filed, listing.measure_filed, listing.mark_filed, *listing.tools)
    yield from _told(where, said, around | content_words(*keys, *texts))
    for mark in listing.marks:
        yield from _told(f"{where}.{mark.code}", content_words(*mark.said), content_words(mark.filed))


def _told(where: str, said: frozenset[str], filed: frozenset[str]) -> Iterator[str]:
    for one, other in shared_stems(said, filed):
        yield f"{where}: {one!r} is said and {other!r} is filed."


def lure_words(fact: Fact) -> frozenset[str]:
    """The words of the asks that the lures of a fact repeat."""
    lures = content_words(*(text for lure in fact.lures for text in (lure.key, lure.filed)))
    return frozenset(one for one in content_words(*fact.asks) if any(share_stem(one, other) for other in lures))
