"""Stage 3, function integration: documents whose functionality overlaps become one more general document.

Look-ups overlap when they are about the same kind of thing; look-ups of references, lists and operations when they do
the same. The merged tool serves all their hops and says by a code what is wanted; gold calls follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from envbuilder.records import Document, JSONObject, Toolset
from envbuilder.stages.documents import DocumentWriter, with_gold_calls
from envbuilder.worlds.tables import World


def integrate_documents(toolset: Toolset) -> Toolset:
    """The toolset with overlapping documents merged."""
    facts = toolset.scenario.facts
    random = Random(f"{facts['source']}|integration")
    world = World(random, facts["world"])
    writer = DocumentWriter(random, world, facts)
    groups: dict[str, list[Document]] = {}
    for document in toolset.documents:
        groups.setdefault(_functionality(document.facts), []).append(document)
    documents: list[Document] = []
    for group in groups.values():
        taken = {document.name for document in documents}
        documents.append(group[0] if len(group) == 1 else _merged(writer, group, taken))
    return with_gold_calls(writer.kept(Toolset(toolset.scenario, tuple(documents))))


def _functionality(facts: JSONObject) -> str:
    match facts["do"]:
        case "find" | "map":
            return str(facts["do"])
        case "operation":
            return str(facts["operation"])
        case "list":
            return str(facts["list"])
    return str(facts["kind"])


def _merged(writer: DocumentWriter, group: Sequence[Document], taken: set[str]) -> Document:
    serves = tuple(sorted(hop for document in group for hop in document.serves))
    first, all_facts = group[0].facts, [document.facts for document in group]
    match first["do"]:
        case "find" | "map":
            kinds = list(dict.fromkeys(kind for facts in all_facts for kind in facts["classes"]))
            schemes = sorted({int(scheme) for facts in all_facts for scheme in facts["schemes"]})
            merged = writer.finder(kinds, schemes, first["do"])
        case "operation":
            return writer.document(first, serves, taken)
        case "list":
            cursors = {thing: found for facts in all_facts for thing, found in facts["cursors"].items()}
            either = {name: any(facts[name] for facts in all_facts) for name in ("revised", "mixed")}
            merged = {**first, **either, "cursors": cursors, "parameters": []}
        case _:
            merged = {
                **first,
                "fields": list(dict.fromkeys(field for facts in all_facts for field in facts["fields"])),
                "years": _spanned([year for facts in all_facts for year in facts["years"]]),
                "axes": {axis: codes for facts in all_facts for axis, codes in facts["axes"].items()},
                "parameters": [],
            }
    return writer.document(merged, serves, taken)


def _spanned(years: Sequence[int]) -> list[int]:
    """The years that several tools held, those between them left out."""
    return sorted(set(years))
