"""What a JSON Schema cannot say about the replies of each stage: graphs, names, leaks, gold arguments.

Every check raises InvalidReply with a reason and a sentence for the model. Nothing here runs code or does I/O. Left
out: whether what the model says is true; only the tools have to agree with it, and trial.py makes sure that they do.
"""

from __future__ import annotations

import ast
import json
import keyword
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

from envbuilder.model.author import InvalidReply
from envbuilder.model.final_answer import check_final
from envbuilder.model.requests import EnvironmentRequest, ScalingTargets
from envbuilder.records import Document, Hop, HopCall, QuestionKind, Scenario, Toolset
from harness.data.source import parse_source
from harness.sandbox.screen import is_plain_source
from harness.scoring import phrases, strict
from harness.scoring.leaves import all_leaves, leaves
from harness.scoring.normalise import tokens
from harness.types import CallRecord, JSONObject, ToolCall

LONGEST_ARGUMENTS = 4000
LARGEST_NUMBER = 10**18
SHORTEST_ANSWER = 3
MOST_ALIKE = 0.8
"""Share of the words of two descriptions that both may have."""
FEWEST_VALUES = 16
"""Values in the code of a tool that looks its answer up: eight entries of two."""
TRIVIAL = frozenset({"yes", "no", "true", "false", "none", "null", "unknown", "n/a", "both", "neither", "zero", "one"})

# --- stage 1: the question and its graph -------------------------------------------------------------------------


def check_scenario(scenario: Scenario, request: EnvironmentRequest) -> None:
    """Dependencies go backwards, the graph is of its kind, sub-answers can be verified and are not given away."""
    for index, hop in enumerate(scenario.hops):
        if any(earlier >= index for earlier in hop.depends_on):
            raise InvalidReply("dependencies", f"sub-question {index} depends on itself or on a later one.")
        check_answer(scenario, index)
        check_naming(scenario, index)
    if (found := kind_of(scenario.hops)) != scenario.kind:
        raise InvalidReply(
            "kind",
            f"the sub-questions and what they depend on make {found or 'none of the kinds'}, "
            f"and {scenario.kind} was said.",
        )
    check_company(scenario)
    if request.kind not in (None, scenario.kind):
        raise InvalidReply("kind", f"a problem of kind {request.kind} was asked for, and this is {scenario.kind}.")
    if request.hops not in (None, len(scenario.hops)):
        raise InvalidReply("kind", f"{request.hops} sub-questions were asked for, not {len(scenario.hops)}.")
    repeated = [answer for answer, n in Counter(tokens(hop.answer) for hop in scenario.hops).items() if n > 1]
    if repeated:
        raise InvalidReply("trivial", f"{' '.join(repeated[0])!r} is the answer of more than one sub-question.")
    check_final(scenario, request.answer)


def check_company(scenario: Scenario) -> None:
    """Where chains meet, every sub-question has a part in one."""
    built_on = {earlier for hop in scenario.hops for earlier in hop.depends_on}
    for index, hop in enumerate(scenario.hops):
        if scenario.kind == "parallel_multi_hop" and not hop.depends_on and index not in built_on:
            raise InvalidReply("dependencies", f"sub-question {index} depends on none, and none depends on it.")


def kind_of(hops: Sequence[Hop]) -> QuestionKind | None:
    """The kind that a graph of sub-questions is; None for a graph of no kind (one root that forks)."""
    if len(hops) == 1:
        return "single_hop"
    if not any(hop.depends_on for hop in hops):
        return "parallel_single_hop"
    if all(index - 1 in hop.depends_on for index, hop in enumerate(hops) if index):
        return "multi_hop"
    return "parallel_multi_hop" if sum(not hop.depends_on for hop in hops) > 1 else None


def check_answer(scenario: Scenario, index: int) -> None:
    answer, asked = scenario.hops[index].answer, scenario.hops[index].question
    text = answer.strip()
    if strict.is_empty(text) or len(text) < SHORTEST_ANSWER or text.casefold() in TRIVIAL:
        raise InvalidReply("trivial", f"the answer of sub-question {index}, {answer!r}, can be had by guessing.")
    if not states_answer(json.dumps({"value": answer}), answer):
        raise InvalidReply(
            "trivial", f"the answer of sub-question {index}, {answer!r}, cannot be recognised in a text."
        )
    for where, said in (("the question", scenario.question), (f"sub-question {index}", asked)):
        if mentions(said, answer):
            raise InvalidReply("leak", f"{where} states {answer!r}, which is the answer of sub-question {index}.")


def check_naming(scenario: Scenario, index: int) -> None:
    """A sub-question names no answer but those that it builds on."""
    known = ancestors(scenario, index)
    for other, hop in enumerate(scenario.hops):
        if other != index and other not in known and mentions(scenario.hops[index].question, hop.answer):
            raise InvalidReply(
                "dependencies",
                f"sub-question {index} states {hop.answer!r}, the answer of sub-question {other}, "
                "and does not depend on it.",
            )


def ancestors(scenario: Scenario, index: int) -> set[int]:
    """The earlier sub-questions that one builds on, directly or not; dependencies go backwards."""
    direct = scenario.hops[index].depends_on
    return set(direct).union(*(ancestors(scenario, earlier) for earlier in direct))


def states_answer(text: str, answer: str) -> bool:
    """Whether a text, or a leaf of its JSON, states an answer by the strict rule."""
    return strict.states(leaves(text), answer)


def mentions(text: str, answer: str) -> bool:
    """Whether an answer stands in a text at all, be it in an error."""
    return phrases.mentions(all_leaves(text), answer)


# --- stages 2 to 4: documents ------------------------------------------------------------------------------------


def check_documents(scenario: Scenario, documents: Sequence[Document], distractors: Sequence[Document] = ()) -> None:
    """Names and parameters can be used, every sub-question is served once, and no answer is given away."""
    for document in (*documents, *distractors):
        check_parameters(document)
        check_leaks(scenario, document)
    names = Counter(document.name for document in (*documents, *distractors))
    if twice := [name for name, n in names.items() if n > 1]:
        raise InvalidReply("name", f"the name {twice[0]!r} is used more than once.")
    if reserved := [name for name in names if keyword.iskeyword(name)]:
        raise InvalidReply("name", f"{reserved[0]!r} is a keyword of Python.")
    check_service(len(scenario.hops), documents, distractors)
    check_likeness(documents, distractors)
    for document in documents:
        check_distinct(scenario, document)


def check_likeness(documents: Sequence[Document], distractors: Sequence[Document]) -> None:
    """No distractor says of itself what another tool says: nobody could tell them apart."""
    words = {document.name: set(tokens(document.description)) for document in (*documents, *distractors)}
    for one in distractors:
        for other in (*documents, *distractors):
            both = words[one.name] & words[other.name]
            if one.name != other.name and len(both) > MOST_ALIKE * len(words[one.name] | words[other.name]):
                raise InvalidReply(
                    "alike", f"the descriptions of {one.name!r} and {other.name!r} say the same; rule one of them out."
                )


def check_distinct(scenario: Scenario, document: Document) -> None:
    """No answer of a tool is part of another that it gives: a call would solve either."""
    for one, other in permutations(document.serves, 2):
        found, part = scenario.hops[one].answer, scenario.hops[other].answer
        if mentions(found, part):
            raise InvalidReply(
                "same_answer", f"{document.name!r} would give {found!r} and {part!r}, and one states the other."
            )


def check_service(hops: int, documents: Sequence[Document], distractors: Sequence[Document]) -> None:
    served = Counter(hop for document in documents for hop in document.serves)
    for index in range(hops):
        if served[index] != 1:
            raise InvalidReply(
                "unserved", f"sub-question {index} is served by {served[index]} documents, and not by one."
            )
    if unknown := sorted(set(served) - set(range(hops))):
        raise InvalidReply("unserved", f"there is no sub-question {unknown[0]}.")
    for document in documents:
        if not document.serves:
            raise InvalidReply("unserved", f"the document {document.name!r} serves no sub-question.")
    for document in distractors:
        if document.serves:
            raise InvalidReply("unserved", f"the distractor {document.name!r} may serve no sub-question.")


def check_parameters(document: Document) -> None:
    where = f"the parameters of {document.name!r}"
    properties, required = document.parameters["properties"], document.parameters["required"]
    if not required:
        raise InvalidReply("parameters", f"{where} require nothing, so a call without arguments would do.")
    for name in required:
        if name not in properties:
            raise InvalidReply("parameters", f"{where} require {name!r}, which is not among the properties.")
    for name, schema in properties.items():
        if keyword.iskeyword(name):
            raise InvalidReply("parameters", f"{where}: {name!r} is a keyword of Python.")
        if "default" in schema and name in required:
            raise InvalidReply("parameters", f"{where}: {name!r} is required and has a default.")


def check_leaks(scenario: Scenario, document: Document) -> None:
    found = json.dumps([document.name.replace("_", " "), document.description, document.parameters])
    for index, hop in enumerate(scenario.hops):
        if mentions(found, hop.answer):
            where = f"the document of {document.name!r} states {hop.answer!r}, the answer of sub-question {index}"
            raise InvalidReply("leak", f"{where}: it may be in no name, description, enumeration, default or limit.")


def check_merged(before: Sequence[Document], merged: Sequence[Document]) -> None:
    """Each merged document takes the place of two whole documents or more, and none is taken twice."""
    served = Counter(hop for document in merged for hop in document.serves)
    for document in merged:
        if sum(set(old.serves) <= set(document.serves) for old in before) < 2:
            raise InvalidReply(
                "scope", f"{document.name!r} must serve all sub-questions of the documents it merges, at least two."
            )
    for old in before:
        if len({served[hop] for hop in old.serves}) > 1 or any(served[hop] > 1 for hop in old.serves):
            raise InvalidReply("scope", f"the document {old.name!r} must be merged once, as a whole, or not at all.")


def check_changes(before: Sequence[Document], changes: Sequence[JSONObject]) -> None:
    """Every change is one of a document that is there, and the only one of it."""
    names = Counter(change["name"] for change in changes)
    if unknown := sorted(set(names) - {document.name for document in before}):
        raise InvalidReply(
            "scope", f"there is no document {unknown[0]!r}; the documents are {', '.join(d.name for d in before)}."
        )
    if twice := [name for name, n in names.items() if n > 1]:
        raise InvalidReply("scope", f"{twice[0]!r} is changed more than once; say all of it in one change.")


def check_scaled(
    toolset: Toolset, after: Sequence[Document], distractors: Sequence[Document], scale: ScalingTargets
) -> None:
    """The documents are the same tools, as much harder as was asked."""
    wanted = scale.distractor_count(toolset.scenario.kind)
    if len(distractors) != wanted:
        raise InvalidReply("level", f"{wanted} distractors were asked for, not {len(distractors)}.")
    for old, new in zip(toolset.documents, after, strict=True):
        check_level(old, new, scale)


def check_level(old: Document, new: Document, scale: ScalingTargets) -> None:
    properties = new.parameters["properties"]
    gained = len(properties) - len(old.parameters["properties"])
    if gained < scale.added_parameters:
        raise InvalidReply(
            "level", f"{new.name!r} has gained {gained} parameters, and {scale.added_parameters} were asked for."
        )
    typed = sum(is_typed(schema) for schema in properties.values())
    if typed < scale.typed_parameters:
        raise InvalidReply(
            "level",
            f"{new.name!r} has {typed} parameters that are more than a plain string, "
            f"and {scale.typed_parameters} were asked for.",
        )


def is_typed(schema: Mapping[str, Any]) -> bool:
    """Whether a parameter is more than a plain string."""
    return schema["type"] != "string" or "enum" in schema or "format" in schema


# --- stage 5: gold calls -----------------------------------------------------------------------------------------


def check_calls(scenario: Scenario, documents: Sequence[Document], calls: Sequence[HopCall]) -> None:
    """One call a hop, of its tool, valid, unlike the others; it states what it depends on and not what it asks."""
    if [call.solves for call in calls] != list(range(len(scenario.hops))):
        raise InvalidReply("calls", "there must be one call for each sub-question, in their order.")
    serving = {hop: document for document in documents for hop in document.serves}
    for call in calls:
        if call.name != serving[call.solves].name:
            raise InvalidReply("calls", f"sub-question {call.solves} is served by {serving[call.solves].name!r}.")
        check_arguments(scenario, serving[call.solves], call)
    for index, call in enumerate(calls):
        if any(same_call(call, earlier) for earlier in calls[:index]):
            raise InvalidReply("calls", f"the call of sub-question {call.solves} is the same as an earlier one.")


def same_call(one: HopCall, other: HopCall) -> bool:
    return one.name == other.name and one.arguments == other.arguments


def check_arguments(scenario: Scenario, document: Document, call: HopCall) -> None:
    where = f"the arguments of sub-question {call.solves}"
    if len(json.dumps(call.arguments)) > LONGEST_ARGUMENTS or has_huge_number(call.arguments):
        raise InvalidReply("arguments", f"{where} are too long.")
    if trouble := schema_trouble(document.parameters, call.arguments):
        raise InvalidReply("arguments", f"{where} do not fit the document: {trouble}")
    check_said(scenario, document, call)
    hop = scenario.hops[call.solves]
    if output_solves(call, json.dumps({"value": hop.answer}), hop.answer) is False:
        raise InvalidReply("echo", f"{where} state {hop.answer!r}, which is its answer.")
    for earlier in hop.depends_on:
        answer = scenario.hops[earlier].answer
        if not passes_answer_on(call.arguments, answer):
            raise InvalidReply(
                "order", f"{where} do not hold {answer!r}, the answer of sub-question {earlier}, on which it depends."
            )


def check_said(scenario: Scenario, document: Document, call: HopCall) -> None:
    """What the arguments say can be known: from the question, from the answers before, or from the document."""
    before = [scenario.hops[earlier].answer for earlier in sorted(ancestors(scenario, call.solves))]
    known = set(tokens(" ; ".join([scenario.question, *before, json.dumps(document.parameters, ensure_ascii=False)])))
    for name, value in call.arguments.items():
        for text in texts_in(value):
            words = set(tokens(text))
            if len(words & known) * 2 < len(words):
                raise InvalidReply(
                    "unsaid",
                    f"nobody can know the argument {name!r} of sub-question {call.solves}, {text!r}: neither the "
                    "question nor an answer that it depends on says it.",
                )


def texts_in(value: object) -> list[str]:
    """The texts of an argument, however deep."""
    if isinstance(value, dict | list):
        return [text for item in (value.values() if isinstance(value, dict) else value) for text in texts_in(item)]
    return [value] if isinstance(value, str) else []


def has_huge_number(value: object) -> bool:
    """Whether there is a number that a wrong one could not be made of."""
    if isinstance(value, dict | list):
        return any(map(has_huge_number, value.values() if isinstance(value, dict) else value))
    return isinstance(value, int | float) and abs(value) > LARGEST_NUMBER


def passes_answer_on(value: object, answer: str) -> bool:
    """Whether an argument passes on an earlier answer: it states it, or its numbers and dates without unit."""
    found = json.dumps([value])
    numbers = [token for token in tokens(answer) if token[0] in "#@"]
    stated = {token for leaf in all_leaves(found) for token in leaf.tokens}
    return mentions(found, answer) or bool(numbers and stated.issuperset(numbers))


def schema_trouble(parameters: JSONObject, arguments: JSONObject) -> str | None:
    """What is wrong with arguments. The schema is a model's, but its keywords are those that documents.json allows:
    no pattern that could run for ever, no reference that could be fetched."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator({**parameters, "additionalProperties": False}).iter_errors(arguments))
    return None if error is None else f"at {error.json_path}: {error.message}"


def output_solves(call: HopCall, output: str, answer: str) -> bool:
    """Whether a call that ended ok with this output would solve this sub-answer, by the strict verifier."""
    record = CallRecord(0, ToolCall("", call.name, call.arguments, json.dumps(call.arguments)), "ok", output)
    return strict.solves([record], {call.name: (answer,)}) == (0,)


# --- stage 5: code, before it runs -------------------------------------------------------------------------------

MODULES = (
    *("bisect", "calendar", "collections", "copy", "datetime", "decimal", "difflib", "fractions", "functools"),
    *("itertools", "json", "math", "operator", "re", "statistics", "string", "textwrap", "unicodedata"),
)
"""What a tool may import: nothing with a clock, with chance, or with a way out."""
FORBIDDEN = frozenset(
    {
        *(
            "open",
            "eval",
            "exec",
            "compile",
            "__import__",
            "globals",
            "locals",
            "vars",
            "getattr",
            "setattr",
            "delattr",
        ),
        *("input", "breakpoint", "exit", "quit", "help", "id", "hash", "memoryview", "__builtins__", "__loader__"),
    }
)
PLAIN = (
    "the code must be plain functions, literals and the usual methods of strings, numbers, lists, dicts and dates: "
    "no classes, no global, no decorators, nothing that changes the library."
)
CLOCK = frozenset({"now", "today", "utcnow"})


def check_code(document: Document, source: str) -> None:
    """The source parses, defines the document's function with its parameters, and is plain. Never runs it."""
    tree = parse(source)
    check_safety(tree, source)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == document.name]
    if len(functions) != 1:
        raise InvalidReply("no_function", f"the code must define one function {document.name!r} at its top level.")
    check_signature(document, functions[0].args)


def parse(source: str) -> ast.Module:
    try:
        return parse_source(source).tree
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidReply("syntax", f"the code does not compile: {error}.") from None


def check_safety(tree: ast.Module, source: str) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            check_import(node)
        elif isinstance(node, ast.Name) and (node.id in FORBIDDEN or node.id.startswith("__")):
            raise InvalidReply("unsafe", f"the code may not use {node.id}.")
        elif isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            raise InvalidReply("unsafe", f"the code may not use the attribute {node.attr}.")
        elif isinstance(node, ast.Attribute) and node.attr in CLOCK:
            raise InvalidReply("nondeterministic", f"the code may not read the clock (.{node.attr}).")
    if not is_plain_source(source):
        raise InvalidReply("unsafe", PLAIN)


def check_import(node: ast.Import | ast.ImportFrom) -> None:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or "."]
    for name in names:
        if name in ("random", "secrets", "time", "uuid"):
            raise InvalidReply("nondeterministic", f"the code may not import {name}: it must always answer the same.")
        if name not in MODULES:
            raise InvalidReply("unsafe", f"the code may not import {name}; it may import {', '.join(MODULES)}.")


def check_signature(document: Document, arguments: ast.arguments) -> None:
    properties, required = document.parameters["properties"], document.parameters["required"]
    named = [*arguments.args, *arguments.kwonlyargs]
    names = {argument.arg for argument in named}
    if arguments.posonlyargs:
        raise InvalidReply("signature", f"the parameters of {document.name} must be usable by name.")
    if arguments.kwarg is None and (missing := sorted(set(properties) - names)):
        raise InvalidReply("signature", f"{document.name} lacks the parameter {missing[0]!r} of its document.")
    plain = arguments.args[: len(arguments.args) - len(arguments.defaults)]
    bare = [argument for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if not value]
    if extra := sorted({argument.arg for argument in (*plain, *bare)} - set(required)):
        raise InvalidReply(
            "signature", f"the parameter {extra[0]!r} of {document.name} needs a default: it is not required."
        )


def check_use(document: Document, source: str) -> None:
    """Every parameter is read somewhere; whether it changes anything is seen when the code runs."""
    function = next(
        node for node in parse(source).body if isinstance(node, ast.FunctionDef) and node.name == document.name
    )
    read = {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    unread = sorted(set(document.parameters["properties"]) - read)
    if unread and function.args.kwarg is None:
        raise InvalidReply("ignored", f"{document.name} never reads its parameter {unread[0]!r}.")


def check_table(answers: Sequence[str], document: Document, source: str) -> None:
    """A tool that holds its answer knows other things too."""
    found = literals(source)
    if len(set(found)) < FEWEST_VALUES and any(mentions(json.dumps(found), answer) for answer in answers):
        raise InvalidReply("small", f"the data of {document.name} has fewer than eight entries.")


def check_literals(scenario: Scenario, document: Document, source: str) -> None:
    """A distractor holds no answer that ends a way: of a sub-question on which no other depends."""
    found = json.dumps(literals(source))
    built_on = {earlier for hop in scenario.hops for earlier in hop.depends_on}
    for index, hop in enumerate(scenario.hops):
        if index not in built_on and mentions(found, hop.answer):
            raise InvalidReply(
                "answers",
                f"the distractor {document.name} holds {hop.answer!r}, the answer of sub-question {index}; "
                "put another value there.",
            )


def literals(source: str) -> list[Any]:
    """The texts and numbers that code holds."""
    return [node.value for node in ast.walk(parse(source)) if isinstance(node, ast.Constant) and is_value(node.value)]


def is_value(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
