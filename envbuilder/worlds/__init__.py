"""The worlds: domains as data, and the graph that their relations form."""

from __future__ import annotations

from envbuilder.worlds.catalogue import DOMAINS, KINDS, RELATIONS, of_kind

__all__ = ["DOMAINS", "KINDS", "RELATIONS", "of_kind"]
