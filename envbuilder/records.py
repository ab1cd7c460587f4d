"""What the stages hand on: frozen records that go to JSON and back, so that every stage's work can be kept and read.

Scenario   stage 1: a question, its sub-questions and sub-answers, and how they depend on each other
Toolset    stages 2 to 4: documents of tools, and the call that answers each sub-question
Deployed   stage 5: the same with code
`facts` is whatever a generator needs to know later (tables, relations); no other code looks into it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

QuestionKind = Literal["single_hop", "parallel_single_hop", "multi_hop", "parallel_multi_hop", "when"]
Split = Literal["train", "validation", "test"]
JSONObject = dict[str, Any]

QUESTION_KINDS: tuple[QuestionKind, ...] = ("single_hop", "parallel_single_hop", "multi_hop", "parallel_multi_hop")
TWINS: QuestionKind = "when"
"""Twins that ask when to call a tool (envbuilder.when): no scenario of the paper, and built alone."""

QUESTION_PROMPT = """\
The facts you need are only in the tools: answer by calling them, and do not rely on memory. When a call fails, read \
its message and try again with better arguments.
Question: {question}
When you know the answer, end with one last line of the form `Answer: ...` that holds nothing but the answer."""
SEVERAL_ANSWERS = " Several answers go there in the order asked, with commas between them."
"""What the prompt says more where a scenario's facts say that it asks for "several_answers"."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One sub-question: `depends_on` are indices of earlier hops whose answers it needs."""

    question: str
    answer: str
    depends_on: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """Stage 1. `id` and `world` are unique to the environment's build; hops are in an order that can be played."""

    id: str
    world: str
    kind: QuestionKind
    question: str
    answer: str
    hops: tuple[Hop, ...]
    facts: JSONObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Document:
    """What a model is told of a tool. `serves` are the hops that it answers; a distractor serves none."""

    name: str
    description: str
    parameters: JSONObject
    serves: tuple[int, ...] = ()
    facts: JSONObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HopCall:
    """The gold call of one hop."""

    name: str
    arguments: JSONObject
    solves: int


@dataclass(frozen=True, slots=True)
class Toolset:
    """Stages 2 to 4: the tools of a scenario, distractors last, and one gold call a hop."""

    scenario: Scenario
    documents: tuple[Document, ...]
    calls: tuple[HopCall, ...] = ()


@dataclass(frozen=True, slots=True)
class DeployedToolset:
    """Stage 5: every document's Python source by tool name."""

    toolset: Toolset
    codes: Mapping[str, str]


Stages = tuple[Scenario, Toolset, Toolset, Toolset, DeployedToolset]
"""What the five stages make."""


def stage_to_json(value: Scenario | Toolset | DeployedToolset) -> JSONObject:
    """A record as plain JSON."""
    return asdict(value)


def scenario_from_json(value: JSONObject) -> Scenario:
    """The inverse of to_json."""
    hops = tuple(Hop(hop["question"], hop["answer"], tuple(hop["depends_on"])) for hop in value["hops"])
    return Scenario(**{**value, "hops": hops})


def toolset_from_json(value: JSONObject) -> Toolset:
    """The inverse of to_json."""
    documents = tuple(Document(**{**document, "serves": tuple(document["serves"])}) for document in value["documents"])
    return Toolset(scenario_from_json(value["scenario"]), documents, tuple(HopCall(**call) for call in value["calls"]))


def deployed_toolset_from_json(value: JSONObject) -> DeployedToolset:
    """The inverse of to_json."""
    return DeployedToolset(toolset_from_json(value["toolset"]), dict(value["codes"]))


def environment_record(deployed: DeployedToolset, split: Split) -> JSONObject:
    """The environment as the paper's tools read it (tools, codes and unsolved_set as JSON strings), plus our fields."""
    toolset, scenario = deployed.toolset, deployed.toolset.scenario
    serving = {hop: document.name for document in toolset.documents for hop in document.serves}
    unsolved: dict[str, list[str]] = {}
    for index, hop in enumerate(scenario.hops):
        unsolved.setdefault(serving[index], []).append(hop.answer)
    tools = [
        {"type": "function", "function": {"name": d.name, "description": d.description, "parameters": d.parameters}}
        for d in toolset.documents
    ]
    prompt = QUESTION_PROMPT + (SEVERAL_ANSWERS if scenario.facts.get("several_answers") else "")
    return {
        "id": scenario.id,
        "world": scenario.world,
        "data_source": f"self/{scenario.kind}",
        "split": split,
        "messages": [{"role": "user", "content": prompt.format(question=scenario.question)}],
        "tools": json.dumps(tools, ensure_ascii=False),
        "codes": json.dumps({d.name: deployed.codes[d.name] for d in toolset.documents}, ensure_ascii=False),
        "unsolved_set": json.dumps(unsolved, ensure_ascii=False),
        "solve_rate": 0.0,
        "answer": scenario.answer,
        "sub_questions": [
            {
                "question": hop.question,
                "tool": serving[index],
                "answer": hop.answer,
                "depends_on": list(hop.depends_on),
            }
            for index, hop in enumerate(scenario.hops)
        ],
        "gold_calls": [
            {"name": call.name, "arguments": call.arguments, "solves": call.solves} for call in toolset.calls
        ],
    }
