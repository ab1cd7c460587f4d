"""The five stages: what a model is asked at each, and what becomes of its reply.

Each stage is a function from the record before it to its own record. The model answers, checks.py says whether the
answer can be used, and trial.py runs the code. Deployment asks twice: for all gold calls, which have to agree with one
another, and then for one function at a time, which is repaired on its own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from envbuilder.model import checks
from envbuilder.model.author import Author, InvalidReply, StageUsage, fill_prompt
from envbuilder.model.requests import EnvironmentRequest, ScalingTargets
from envbuilder.model.trial import ToolTrial
from envbuilder.records import DeployedToolset, Document, Hop, HopCall, JSONObject, Scenario, Toolset
from harness.data import jsonio

STAGES = ("scenario", "documents", "integration", "scaling", "deployment")


@dataclass(frozen=True)
class StageContext:
    """What every stage works with."""

    author: Author
    trial: ToolTrial
    scale: ScalingTargets


# --- 1: the scenario ---------------------------------------------------------------------------------------------


async def write_scenario(shop: StageContext, request: EnvironmentRequest, ledger: StageUsage) -> Scenario:
    """A question with its sub-questions; a user's own question is kept as it was given.

    The world is named after what was asked for, so that it shows when two splits were asked for the same.
    """

    async def accept(reply: JSONObject) -> Scenario:
        made = scenario_of(request, reply)
        checks.check_scenario(made, request)
        return made

    kind = request.kind or "the one that the question is"
    hops = request.hops or "as many as it takes"
    prompt = fill_prompt("scenario", task=task_of(request), kind=kind, hops=hops)
    return await shop.author.ask(prompt, "scenario", accept, ledger)


def task_of(request: EnvironmentRequest) -> str:
    if request.question is None:
        return fill_prompt("topic", topic=request.topic)
    answer = "" if request.answer is None else f"Its answer is: {request.answer}"
    return fill_prompt("question", question=request.question, answer=answer)


def scenario_of(request: EnvironmentRequest, reply: JSONObject) -> Scenario:
    asked = jsonio.digest([request.kind, request.topic, request.question])
    return Scenario(
        id=f"model-{request.index:06}-{asked[:8]}",
        world=f"model-{asked}",
        kind=reply["kind"],
        question=request.question or reply["question"].strip(),
        answer=request.answer or reply["answer"].strip(),
        hops=tuple(
            Hop(hop["question"].strip(), hop["answer"].strip(), tuple(sorted(set(map(int, hop["depends_on"])))))
            for hop in reply["sub_questions"]
        ),
    )


# --- 2 to 4: documents -------------------------------------------------------------------------------------------


async def write_documents(shop: StageContext, made: Scenario, ledger: StageUsage) -> Toolset:
    """One document a sub-question."""

    async def accept(reply: JSONObject) -> Toolset:
        found = documents_of(reply["documents"])
        checks.check_documents(made, found)
        if [document.serves for document in found] != [(index,) for index in range(len(made.hops))]:
            raise InvalidReply("unserved", "there must be one document for each sub-question, in their order.")
        return Toolset(made, found)

    prompt = fill_prompt("documents", question=made.question, hops=listed(made))
    return await shop.author.ask(prompt, "documents", accept, ledger)


async def integrate_documents(shop: StageContext, toolset: Toolset, ledger: StageUsage) -> Toolset:
    """Documents that overlap become one. A single document overlaps with none, and nothing is asked."""
    if len(toolset.documents) == 1:
        return toolset

    async def accept(reply: JSONObject) -> Toolset:
        merged = documents_of(reply["merged"])
        checks.check_merged(toolset.documents, merged)
        found = with_merged(toolset.documents, merged)
        checks.check_documents(toolset.scenario, found)
        return replace(toolset, documents=found)

    prompt = fill_prompt("integration", hops=listed(toolset.scenario), documents=as_json(toolset.documents))
    return await shop.author.ask(prompt, "integration", accept, ledger)


def with_merged(before: Sequence[Document], merged: Sequence[Document]) -> tuple[Document, ...]:
    """Each merged document stands where the first of those stood that it replaces."""
    into = {hop: document for document in merged for hop in document.serves}
    found: list[Document] = []
    for old in before:
        new = into.get(old.serves[0], old)
        if new not in found:
            found.append(new)
    return tuple(found)


async def scale_toolset(shop: StageContext, toolset: Toolset, ledger: StageUsage) -> Toolset:
    """The four strategies, each at its level; all at 0 ask nothing."""
    scale, made = shop.scale, toolset.scenario
    if not scale.is_active:
        return toolset

    async def accept(reply: JSONObject) -> Toolset:
        checks.check_changes(toolset.documents, reply["changes"])
        found, extra = with_changes(toolset.documents, reply["changes"]), documents_of(reply["distractors"])
        checks.check_documents(made, found, extra)
        checks.check_scaled(toolset, found, extra, scale)
        return replace(toolset, documents=(*found, *extra))

    prompt = fill_prompt(
        "scaling",
        question=made.question,
        hops=listed(made),
        documents=as_json(toolset.documents),
        functionality=scale.levels.generalise,
        parameters_level=scale.levels.parameters,
        parameters=scale.added_parameters,
        types_level=scale.levels.types,
        types=scale.typed_parameters,
        toolset_level=scale.levels.distractors,
        distractors=scale.distractor_count(made.kind),
    )
    return await shop.author.ask(prompt, "scaling", accept, ledger)


def with_changes(before: Sequence[Document], changes: Sequence[JSONObject]) -> tuple[Document, ...]:
    """The documents with new descriptions and parameters; names, what they serve and what they require stay."""
    by_name = {change["name"]: change for change in changes}
    return tuple(changed(document, by_name.get(document.name, {})) for document in before)


def changed(document: Document, change: JSONObject) -> Document:
    parameters = document.parameters
    return replace(
        document,
        description=change.get("description", document.description).strip(),
        parameters={**parameters, "properties": {**parameters["properties"], **change.get("properties", {})}},
    )


def documents_of(found: Sequence[JSONObject]) -> tuple[Document, ...]:
    return tuple(
        Document(item["name"], item["description"].strip(), item["parameters"], tuple(sorted(map(int, item["serves"]))))
        for item in found
    )


def as_json(found: Iterable[Document]) -> str:
    return json.dumps([shown(document) for document in found], ensure_ascii=False, indent=1)


def shown(document: Document) -> JSONObject:
    return {
        "name": document.name,
        "description": document.description,
        "parameters": document.parameters,
        "serves": list(document.serves),
    }


def listed(made: Scenario, answers: bool = False) -> str:
    """The sub-questions, one a line: what a model must not know of the answers it is not told."""
    return "\n".join(
        f"{index}. {hop.question} (depends on: {', '.join(map(str, hop.depends_on)) or 'nothing'})"
        + (f" Answer: {hop.answer}" if answers else "")
        for index, hop in enumerate(made.hops)
    )


# --- 5: deployment -----------------------------------------------------------------------------------------------


async def deploy_toolset(shop: StageContext, toolset: Toolset, ledger: StageUsage) -> DeployedToolset:
    """Gold calls, then a function for every document, then the proof that the calls solve the environment."""
    calls = await gold_calls(shop, toolset, ledger)
    codes = await all_code(shop, toolset, calls, ledger)
    await shop.trial.check_gold_calls(toolset.scenario, codes, calls)
    return DeployedToolset(replace(toolset, calls=calls), codes)


async def gold_calls(shop: StageContext, toolset: Toolset, ledger: StageUsage) -> tuple[HopCall, ...]:
    made = toolset.scenario
    serving = [document for document in toolset.documents if document.serves]

    async def accept(reply: JSONObject) -> tuple[HopCall, ...]:
        found = tuple(HopCall(item["name"], item["arguments"], int(item["solves"])) for item in reply["calls"])
        checks.check_calls(made, serving, found)
        return found

    prompt = fill_prompt(
        "calls", question=made.question, answers=listed(made, answers=True), documents=as_json(serving)
    )
    return await shop.author.ask(prompt, "calls", accept, ledger)


async def all_code(
    shop: StageContext, toolset: Toolset, calls: Sequence[HopCall], ledger: StageUsage
) -> dict[str, str]:
    """Every document's function: first those that serve, because an environment may fail there, then the others."""
    made, serving = toolset.scenario, [document for document in toolset.documents if document.serves]
    sources = await code_side_by_side(shop, made, serving, calls, ledger)
    others = [document for document in toolset.documents if not document.serves]
    return sources | await code_side_by_side(shop, made, others, calls, ledger)


async def code_side_by_side(
    shop: StageContext, made: Scenario, documents: Sequence[Document], calls: Sequence[HopCall], ledger: StageUsage
) -> dict[str, str]:
    """The functions of documents, asked for at once. The ledger is in their order, whoever comes first, and so is the
    failure that is raised."""
    ledgers = [StageUsage() for _ in documents]
    asked = [code(shop, made, document, calls, own) for document, own in zip(documents, ledgers, strict=True)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    for own in ledgers:
        ledger.usage += own.usage
        ledger.faults += own.faults
    sources: dict[str, str] = {}
    for document, source in zip(documents, found, strict=True):
        if isinstance(source, BaseException):
            raise source
        sources[document.name] = source
    return sources


async def code(
    shop: StageContext, made: Scenario, document: Document, calls: Sequence[HopCall], ledger: StageUsage
) -> str:
    own = [call for call in calls if call.name == document.name]

    async def accept(reply: JSONObject) -> str:
        source: str = reply["code"]
        checks.check_code(document, source)
        if own:
            await shop.trial.check_gold_tool(made, document, source, own)
            checks.check_table([made.hops[call.solves].answer for call in own], document, source)
        else:
            checks.check_literals(made, document, source)
            await shop.trial.check_distractor(made, document, source, reply.get("example"))
        checks.check_use(document, source)
        return source

    prompt = fill_prompt(
        "code",
        document=json.dumps(shown(document), ensure_ascii=False, indent=1),
        function=document.name,
        cases=cases(made, own),
        modules=", ".join(checks.MODULES),
        example="" if own else '"example": {}, ',
    )
    return await shop.author.ask(prompt, "code", accept, ledger)


def cases(made: Scenario, own: Sequence[HopCall]) -> str:
    if not own:
        return fill_prompt("distractor", question=made.question)
    lines = (
        f"- {json_line(call.arguments)} gives an output that contains {made.hops[call.solves].answer!r}" for call in own
    )
    return "These calls must give these values, word for word, in one field of the output:\n" + "\n".join(lines)


def json_line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)
