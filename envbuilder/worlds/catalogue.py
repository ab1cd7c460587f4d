"""All domains together: kinds and facts by name, and what can be asked about a thing of a kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from envbuilder.worlds.schema import Domain, EntityKind, Fact, Listing, read_domain
from harness.errors import UsageError
from harness.registry import suggest_names

FOLDER = Path(__file__).parent / "domains"
DOMAINS: Mapping[str, Domain] = {path.stem: read_domain(path) for path in sorted(FOLDER.glob("*.toml"))}
ENTITY_KINDS: Mapping[str, EntityKind] = {kind.id: kind for domain in DOMAINS.values() for kind in domain.kinds}
KINDS_ARE = f" There are {', '.join(ENTITY_KINDS)}."
FACTS: Mapping[str, Fact] = {fact.id: fact for kind in ENTITY_KINDS.values() for fact in kind.facts}
LISTINGS: Mapping[str, Listing] = {
    f"{kind.id}.{listing.key}": listing for kind in ENTITY_KINDS.values() for listing in kind.lists
}


def read_kinds(names: Iterable[str]) -> tuple[str, ...]:
    """Kinds of things by their names, each once, in order. Raises UsageError for one that there is not."""
    found = tuple(sorted({*names}))
    for name in found:
        if name not in ENTITY_KINDS:
            raise UsageError(f"There is no kind of things {name!r}.{suggest_names(name, ENTITY_KINDS) or KINDS_ARE}")
    return found


def years_of(kind: str) -> tuple[int, int]:
    """The first and the last year that there are figures of."""
    return DOMAINS[ENTITY_KINDS[kind].domain].years


@cache
def facts_of(kind: str, among: tuple[str, ...] = ()) -> tuple[Fact, ...]:
    """What can be asked about a thing of this kind; with `among`, only what leads to no other kinds."""
    return tuple(fact for fact in ENTITY_KINDS[kind].facts if not among or fact.target is None or fact.target in among)
