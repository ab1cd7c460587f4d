"""Stage 3, function integration: documents whose functionality overlaps become one more general document.

Two lookups overlap when they are about the same kind of thing and take the same keys; two closing operations when they
are the same operation. The merged tool serves all their hops and says by a selector what is wanted; gold calls follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from envbuilder.generation1.stages.documents import DocumentWriter, relations_of, with_gold_calls, with_world
from envbuilder.generation1.worlds.tables import World
from envbuilder.records import Document, JSONObject, Toolset


def integrate_documents(toolset: Toolset) -> Toolset:
    """The toolset with overlapping documents merged."""
    facts = toolset.scenario.facts
    random = Random(f"{facts['source']}|integration")
    world = World(random, facts["world"])
    writer = DocumentWriter(random, world, facts["terse"])
    groups: dict[str, list[Document]] = {}
    for document in toolset.documents:
        groups.setdefault(_functionality(document.facts), []).append(document)
    documents: list[Document] = []
    for group in groups.values():
        taken = {document.name for document in documents}
        documents.append(group[0] if len(group) == 1 else _merged(writer, group, toolset, taken))
    return with_gold_calls(with_world(Toolset(toolset.scenario, tuple(documents)), world))


def _functionality(facts: JSONObject) -> str:
    if "operation" in facts:
        return str(facts["operation"])
    return f"{facts['kind']}|{facts['also']}"


def _merged(writer: DocumentWriter, group: Sequence[Document], toolset: Toolset, taken: set[str]) -> Document:
    serves = tuple(sorted(hop for document in group for hop in document.serves))
    if "operation" in group[0].facts:
        return writer.document(group[0].facts, serves, taken)
    steps = toolset.scenario.facts["steps"]
    wanted = [[steps[hop]["name"], steps[hop]["also"]] for hop in serves]
    relations = list(dict.fromkeys(steps[hop]["relation"] for hop in serves))
    facts = {
        **group[0].facts,
        "relations": relations,
        "rows": writer.rows(group[0].facts["kind"], group[0].facts["also"], wanted),
    }
    if len(relations) > 1:
        facts["parameters"] = [
            *facts["parameters"],
            writer.selector(facts, required_first_key(toolset, facts, serves), None),
        ]
    return writer.document(facts, serves, taken)


def required_first_key(toolset: Toolset, facts: JSONObject, serves: Sequence[int]) -> str | None:
    """What the enumeration of a merged tool must begin with, so that the default never continues a chain inside it.

    Where one hop's answer is the subject of another hop of the same tool, anybody who knows the first answer could get
    the second one from a default.
    """
    hops = toolset.scenario.hops
    inside = [hop for hop in serves if set(hops[hop].depends_on) & set(serves)]
    if not inside or "operation" in facts:
        return None
    continuing = {toolset.scenario.facts["steps"][hop]["relation"] for hop in inside}
    harmless = [relation.key for relation in relations_of(facts) if relation.id not in continuing]
    return harmless[0]  # there is one: the plan of the scenario sees to that
