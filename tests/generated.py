"""Procedural environments for tests: built once, and run in this process, because their code is our own."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import builders

from envbuilder.records import QUESTION_KINDS, DeployedToolset, Document, environment_record
from envbuilder.spec import Spec
from envbuilder.stages import procedural
from harness.data.records import sample_from_record
from harness.types import CallRecord, JSONObject, Sample, ToolResult

PRESET_NAMES = ("micro", "easy", "paper", "hard")


@cache
def built(spec: Spec) -> DeployedToolset:
    return procedural.build_environment(spec)


def specs(preset: str = "paper", each: int = 6, **more: Any) -> list[Spec]:
    fields = {"seed": 4, "split": "train", "preset": preset, **more}
    return [Spec(kind, index, **fields) for index in range(each) for kind in QUESTION_KINDS]


def record(spec: Spec) -> dict[str, Any]:
    return environment_record(built(spec), spec.split)


def sample(spec: Spec) -> Sample:
    return sample_from_record(record(spec), 0, "record 1")


def text(output: Any) -> str:
    """A tool's output as it is fed back."""
    return json.dumps(output, ensure_ascii=False) if isinstance(output, dict | list) else str(output)


@cache
def function(name: str, code: str) -> Any:
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    return namespace[name]


def run(deployed: DeployedToolset, name: str, arguments: Mapping[str, Any]) -> str:
    return text(function(name, deployed.codes[name])(**arguments))


def played(deployed: DeployedToolset) -> list[CallRecord]:
    """The gold calls with what they give."""
    return [
        CallRecord(at, builders.call(call.name, call.arguments, at), "ok", run(deployed, call.name, call.arguments))
        for at, call in enumerate(deployed.toolset.calls)
    ]


def document_of(deployed: DeployedToolset, name: str) -> Document:
    return next(document for document in deployed.toolset.documents if document.name == name)


class ToolsHere:
    """Runs tools in this process, without a sandbox."""

    def run(self, codes: Mapping[str, str], calls: Sequence[tuple[str, JSONObject]]) -> list[ToolResult]:
        return [self._result(codes, name, arguments) for name, arguments in calls]

    async def arun(self, codes: Mapping[str, str], calls: Sequence[tuple[str, JSONObject]]) -> list[ToolResult]:
        return self.run(codes, calls)

    def _result(self, codes: Mapping[str, str], name: str, arguments: JSONObject) -> ToolResult:
        try:
            return ToolResult("ok", text(function(name, codes[name])(**arguments)))
        except TypeError as error:
            return ToolResult("raised", f"TypeError: {error}")


@cache
def table(code: str) -> Any:
    """The table that a tool's code begins with."""
    (defined,) = ast.parse(code).body
    assert isinstance(defined, ast.FunctionDef)
    return next(ast.literal_eval(line.value) for line in defined.body if isinstance(line, ast.Assign))


def examples(deployed: DeployedToolset, document: Document) -> Iterator[JSONObject]:
    """Required arguments for every record of a tool that looks something up."""
    facts, names = document.facts, {entry["role"]: entry["name"] for entry in document.facts["parameters"]}
    for key, held in table(deployed.codes[document.name]).items():
        if facts["do"] in ("look", "list"):
            for code in document.parameters["properties"].get(names.get("field"), {"enum": [None]})["enum"]:
                chosen = {} if code is None else {names["field"]: code}
                yield {names["subject"]: shaped(document, key), **chosen}
            continue
        for row in held:
            for scheme in facts["schemes"].values():
                query = row["title"] if facts["do"] == "find" else row[0]
                yield {names["query"]: query, names["class"]: key, names["scheme"]: scheme}


def shaped(document: Document, subject: Any) -> Any:
    """A subject as the schema of a tool takes it."""
    (entry,) = (entry for entry in document.facts["parameters"] if entry["role"] == "subject")
    return {next(iter(entry["schema"]["properties"])): subject} if entry["schema"]["type"] == "object" else subject
