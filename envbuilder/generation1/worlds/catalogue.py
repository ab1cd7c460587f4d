"""All domains together: kinds and relations by name, and what can be asked about a thing of a kind."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from envbuilder.generation1.worlds.schema import Domain, EntityKind, Relation, read_domain

DOMAINS: tuple[Domain, ...] = tuple(read_domain(path) for path in sorted(Path(__file__).parent.glob("*.toml")))
ENTITY_KINDS: Mapping[str, EntityKind] = {kind.id: kind for domain in DOMAINS for kind in domain.kinds}
RELATIONS: Mapping[str, Relation] = {
    relation.id: relation for kind in ENTITY_KINDS.values() for relation in kind.relations
}
OFFICES: Mapping[str, tuple[str, ...]] = {domain.name: domain.offices for domain in DOMAINS}


@cache
def relations_of_kind(kind: str, among: tuple[str, ...] = ()) -> tuple[Relation, ...]:
    """What can be asked about a thing of this kind: its own relations, then those of its parents; with `among`, only
    what leads to no other kinds."""
    own, parent = ENTITY_KINDS[kind].relations, ENTITY_KINDS[kind].parent
    relations = own + relations_of_kind(parent) if parent else own
    return tuple(relation for relation in relations if not among or _kinds_in(relation) <= {*among})


def _kinds_in(relation: Relation) -> set[str]:
    """The kinds of an answer, of a list's members and of a second key."""
    found = (relation.target, relation.also, relation.value.of if relation.value else None)
    return {kind for kind in found if kind is not None and kind in ENTITY_KINDS}


def years_of(kind: str) -> tuple[int, int]:
    """The first and the last year that yearly figures of a kind are kept for."""
    return (1999, 2023) if ENTITY_KINDS[kind].domain == "software" else (1951, 2023)
