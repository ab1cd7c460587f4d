"""Asks a model for one JSON object and does not take the first thing it says for an answer.

A reply is read (a code fence and prose around the object are forgiven), validated against a JSON Schema, and handed to
the stage's own check. Whatever is wrong becomes one sentence that the model is told, for a bounded number of tries.
Prompts and schemas are files beside this one: `prompts/NAME.md` with `$name` fields, `schemas/NAME.json`.

Left out: what the stages check (checks.py, trial.py), and retries of failed requests, which are the backend's.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any, TypeVar

from harness.data.arguments import is_deeper_than, parse_json_object
from harness.errors import HarnessError, ModelFailure, UsageError
from harness.extras import install_command
from harness.types import Gold, JSONObject, Message, Model, ModelRequest, Reply, Sample, Sampling, Usage

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

T = TypeVar("T")

LONGEST_REPLY = 200_000
"""Characters; a longer reply is refused unread."""
LONGEST_ECHO = 50_000
"""Characters of a refused reply that the model is shown again."""
LONGEST_SENTENCE = 500
DEEPEST_REPLY = 24
MOST_OPENINGS = 50
"""Braces of a reply at which an object is looked for."""


class InvalidReply(Exception):
    """A reply that cannot be used: a reason in a word for the table, and a sentence for the model."""

    def __init__(self, reason: str, sentence: str) -> None:
        self.reason = reason
        self.sentence = sentence if len(sentence) <= LONGEST_SENTENCE else f"{sentence[:LONGEST_SENTENCE]}..."
        super().__init__(self.sentence)


@dataclass
class StageUsage:
    """What one stage of one environment has cost so far, and the reasons of the replies that were refused."""

    usage: Usage = Usage()
    faults: list[str] = field(default_factory=list)


class Author:
    """A model that answers with JSON. `tries` is the number of replies it has for each thing it is asked."""

    def __init__(self, model: Model, sampling: Sampling, tries: int) -> None:
        if tries < 1:
            raise UsageError("A build needs at least one try for each thing that the model is asked.")
        schema_validator("code")  # so that a missing package is said before anything is asked
        self._model = model
        self._sampling = sampling
        self._tries = tries

    async def ask(
        self, prompt: str, schema: str, accept: Callable[[JSONObject], Awaitable[T]], ledger: StageUsage
    ) -> T:
        """What `accept` makes of the first good reply. Raises ModelFailure, and the last InvalidReply if none was."""
        messages = [Message("user", prompt)]
        for left in reversed(range(self._tries)):
            reply = await self._speak(messages, ledger)
            try:
                return await accept(checked(reply, schema))
            except InvalidReply as invalid:
                ledger.faults.append(invalid.reason)
                if not left:
                    raise
                said = reply.message.content[:LONGEST_ECHO] or "(nothing)"
                messages += [Message("assistant", said), Message("user", fill_prompt("repair", sentence=str(invalid)))]
        raise AssertionError("unreachable")

    async def _speak(self, messages: Sequence[Message], ledger: StageUsage) -> Reply:
        request = ModelRequest(tuple(messages), (), self._sampling, sample_of(messages), turn=len(messages) // 2)
        try:
            spoken = self._model(request)
            reply = await spoken if inspect.isawaitable(spoken) else spoken
        except ModelFailure as failure:
            ledger.usage += failure.usage
            raise
        except HarnessError:
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            raise ModelFailure(text, outcome="infrastructure_error", stop="model_exception") from error
        ledger.usage += reply.usage
        return reply


def sample_of(messages: Sequence[Message]) -> Sample:
    """There is no sample behind what is asked here; models want one."""
    return Sample("build", tuple(messages[:1]), (), {}, Gold({}))


# --- prompts -----------------------------------------------------------------------------------------------------


def fill_prompt(name: str, **values: object) -> str:
    """A prompt with its fields filled in; what is filled in is never read as a field."""
    return Template(read_package_text(f"prompts/{name}.md")).substitute(values).strip()


@cache
def read_package_text(path: str) -> str:
    return resources.files("envbuilder.model").joinpath(path).read_text(encoding="utf-8")


# --- replies -----------------------------------------------------------------------------------------------------


def checked(reply: Reply, schema: str) -> JSONObject:
    """The reply's object, valid by the schema. Raises InvalidReply."""
    if reply.finish_reason == "length":
        raise InvalidReply("cut_off", "it was cut off at the limit of tokens; write less.")
    value = extract_json_object(reply.message.content)
    error = next(iter(best_errors(schema, value)), None)
    if error is not None:
        raise InvalidReply("schema", error)
    return value


def extract_json_object(text: str) -> JSONObject:
    """The first JSON object of a text: in a code fence if it has one, else wherever it begins. Raises InvalidReply."""
    if len(text) > LONGEST_REPLY:
        raise InvalidReply("not_json", f"it is longer than {LONGEST_REPLY:,} characters.")
    troubles: list[str] = []
    for start in openings(text):
        try:
            value, _ = DECODER.raw_decode(text, start)
            if is_deeper_than(value, DEEPEST_REPLY):
                raise InvalidReply("not_json", f"its JSON is nested deeper than {DEEPEST_REPLY} levels.")
            return parse_json_object(json.dumps(value, ensure_ascii=True))
        except (ValueError, RecursionError) as error:
            troubles.append(str(error))
    if not text.strip():
        raise InvalidReply("empty", "it is empty.")
    raise InvalidReply("not_json", f"it holds no JSON object ({troubles[0] if troubles else 'there is no { in it'}).")


DECODER = json.JSONDecoder(strict=False)  # models write line breaks into strings
FENCE = re.compile(r"```(?:json|JSON)?\s*(?=\{)")


def openings(text: str) -> Iterator[int]:
    """Where an object may begin: a code fence, then every brace of the first ones."""
    fence = FENCE.search(text)
    if fence:
        yield fence.end()
    found = (match.start() for match in re.finditer(r"\{", text))
    yield from (start for start, _ in zip(found, range(MOST_OPENINGS), strict=False))


def best_errors(schema: str, value: Any) -> Iterator[str]:
    """What is wrong by the schema, the most telling first."""
    from jsonschema.exceptions import best_match

    error = best_match(schema_validator(schema).iter_errors(value))
    if error is not None:
        yield f"at {error.json_path}: {error.message}"


@cache
def schema_validator(schema: str) -> Draft202012Validator:
    """The validator of schemas/NAME.json. Raises UsageError where jsonschema is not installed."""
    try:
        from jsonschema import Draft202012Validator
    except ImportError:
        raise UsageError(f"Building with a model needs the build extra: {install_command('build')}.") from None
    return Draft202012Validator(json.loads(read_package_text(f"schemas/{schema}.json")))
