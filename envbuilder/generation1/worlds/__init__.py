"""The worlds: domains as data, and the graph that their relations form."""

from __future__ import annotations

from envbuilder.generation1.worlds.catalogue import DOMAINS, ENTITY_KINDS, RELATIONS, relations_of_kind

__all__ = ["DOMAINS", "ENTITY_KINDS", "RELATIONS", "relations_of_kind"]
