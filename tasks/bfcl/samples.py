"""From the wheel's entries to samples: what is asked, which tools there are, and what the checker will need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harness.data import jsonio
from harness.data.messages import message_from_json
from harness.errors import UsageError
from harness.types import Gold, GoldCall, JSONObject, Sample, Tool
from tasks.bfcl import gold, schemas, wheel

IRRELEVANCE = ("irrelevance", "live_irrelevance")
CONVERSATIONS = ("multi_turn_base", "multi_turn_miss_func", "multi_turn_miss_param", "multi_turn_long_context")
WANTED_CALLS = {"live_relevance": "a call is wanted, whichever", **dict.fromkeys(IRRELEVANCE, "no call is wanted")}
"""Categories that no checker is needed for."""


def load_category(folder: Path | None, category: str) -> list[Sample]:
    """The samples of a category. Raises MissingData without the wheel, UsageError where its files are different."""
    root = wheel.find_package(folder)
    asked = wheel.read_questions(root, category)
    if category in WANTED_CALLS:
        return [_read(_wanted, category, line, row) for line, row in enumerate(asked)]
    answers = wheel.read_answers(root, category)
    if len(asked) != len(answers):
        raise UsageError(f"bfcl_{category} has {len(asked)} questions and {len(answers)} answers in {root}.")
    known = {"checker": wheel.checker_digest(root, category in CONVERSATIONS)}
    read = partial(_conversation, root, known) if category in CONVERSATIONS else partial(_compared, known)
    return [_read(read, category, line, *pair) for line, pair in enumerate(zip(asked, answers, strict=True))]


def _read(read: Callable[..., Sample], category: str, line: int, *found: Any) -> Sample:
    try:
        return read(category, line, *found)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        where = f"bfcl_{category}, row {line + 1}"
        raise UsageError(f"{where} is not in BFCL v4's format: {type(error).__name__} {error}.") from None


def _wanted(category: str, line: int, row: JSONObject) -> Sample:
    """A call, or none, whichever: the gold of relevance calls the first function, without arguments."""
    wanted = category not in IRRELEVANCE
    calls = (GoldCall(schemas.tool_name(row["function"][0]["name"]), {}),) if wanted else ()
    return _single(category, line, row, calls, {})


def _compared(known: Mapping[str, Any], category: str, line: int, row: JSONObject, answer: JSONObject) -> Sample:
    _same(row, answer)
    possible = answer["ground_truth"]
    spoken = schemas.language_of(category)
    known = {**known, "functions": row["function"], "answer": possible, "language": spoken}
    return _single(category, line, row, gold.make_gold_calls(possible, row["function"], category), known)


def _single(category: str, line: int, row: JSONObject, calls: tuple[GoldCall, ...], known: Mapping[str, Any]) -> Sample:
    (messages,) = row["question"]
    return Sample(
        id=row["id"],
        messages=tuple(message_from_json(message) for message in messages),
        tools=tuple(schemas.make_tool(function, category) for function in row["function"]),
        codes={},
        gold=Gold({}, calls, message="None of the functions fits.", turns=(calls,)),
        metadata=_metadata(row["id"], category, line, known),
    )


def _conversation(
    root: Path, known: Mapping[str, Any], category: str, line: int, row: JSONObject, answer: JSONObject
) -> Sample:
    _same(row, answer)
    documents = [document for name in row["involved_classes"] for document in wheel.read_functions(root, name)]
    held = {int(turn): set(names) for turn, names in row.get("missed_function", {}).items()}
    later = frozenset(name for names in held.values() for name in names)
    order = {document["name"]: list(document["parameters"]["properties"]) for document in documents}
    turns = [tuple(gold.parse_gold_call(text, order, row["id"]) for text in texts) for texts in answer["ground_truth"]]
    first, *rest = row["question"]
    known = {
        **known,
        "known": sorted(order),
        "user": tuple(messages[0]["content"] if messages else None for messages in rest),
        "added": {turn: tuple(_tools(documents, category, names.__contains__)) for turn, names in held.items()},
        "entry": {name: row[name] for name in ("id", "initial_config", "involved_classes")},
        "answer": answer["ground_truth"],
    }
    return Sample(
        id=row["id"],
        messages=tuple(message_from_json(message) for message in first),
        tools=tuple(_tools(documents, category, lambda name: name not in later)),
        codes={},
        gold=Gold({}, sum(turns, ()), message="That is done.", turns=_with_pauses(turns)),
        metadata=_metadata(row["id"], category, line, known),
    )


def _with_pauses(turns: Sequence[tuple[GoldCall, ...]]) -> tuple[tuple[GoldCall, ...], ...]:
    """Each turn of the user's: one step with its calls, if it has any, and one without, after which the user speaks."""
    return tuple(step for turn in turns for step in ((turn, ()) if turn else ((),)))


def _tools(documents: Sequence[JSONObject], category: str, wanted: Callable[[str], bool]) -> list[Tool]:
    return [schemas.make_tool(document, category) for document in documents if wanted(document["name"])]


def _same(row: JSONObject, answer: JSONObject) -> None:
    if row["id"] != answer["id"]:
        raise ValueError(f"{row['id']} is answered by {answer['id']}")


def _metadata(name: str, category: str, line: int, known: Mapping[str, Any]) -> JSONObject:
    """What the environment and the checker need; the digest stands for what is in no other field of the sample."""
    plain = {key: value for key, value in known.items() if key != "added"}
    return {
        "line": line,
        "world": _world(name, category),
        "data_source": f"bfcl/{category}",
        "category": category,
        **known,
        "digest": jsonio.digest(plain),
    }


def _world(name: str, category: str) -> str:
    """What a sample shares with others: the four kinds of conversations are one another's variants, by number, and live
    questions (category_number-functions-question) come several to a set of functions."""
    number, _, rest = name.removeprefix(f"{category}_").partition("-")
    if category in CONVERSATIONS:
        return f"bfcl-conversation-{number}"
    return f"bfcl-{category}-functions-{rest.partition('-')[0]}" if rest else f"bfcl-{category}-{number}"
