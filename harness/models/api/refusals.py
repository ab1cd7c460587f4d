"""Fields that an endpoint refused: learnt from its answers, and left out or renamed in what is sent next."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from harness.errors import UsageError
from harness.types import JSONObject


def merge_fields(fields: JSONObject, others: JSONObject) -> JSONObject:
    """Both, objects inside objects too; where both have a value, that of `others`."""
    result = dict(fields)
    for key, value in others.items():
        mine = result.get(key)
        result[key] = merge_fields(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
    return result


def shared_field(fields: JSONObject, others: JSONObject) -> str | None:
    """The dotted name of the first value that both set."""
    for key, value in fields.items():
        if key in others:
            other = others[key]
            if not (isinstance(value, dict) and isinstance(other, dict)):
                return key
            if (inner := shared_field(value, other)) is not None:
                return f"{key}.{inner}"
    return None


def check_overrides(switched: JSONObject, extra_body: JSONObject) -> JSONObject:
    """The fields of a switch. Raises UsageError where extra_body, which has the last word, would undo them."""
    if (name := shared_field(switched, extra_body)) is not None:
        raise UsageError(f"--model-arg extra_body sets {name}, and so does --reasoning: give one of them.")
    return switched


def has(value: object, path: str) -> bool:
    """Whether there is something at a dotted path; inside a list, whether any item has it."""
    if isinstance(value, list):
        return any(has(item, path) for item in value)
    key, _, rest = path.partition(".")
    return isinstance(value, dict) and key in value and (not rest or has(value[key], rest))


def without(value: Any, path: str) -> Any:
    """The same value with nothing at a dotted path, in every item where there is a list."""
    if isinstance(value, list):
        return [without(item, path) for item in value]
    key, _, rest = path.partition(".")
    if not isinstance(value, dict) or key not in value:
        return value
    left = {name: item for name, item in value.items() if name != key}
    inner = without(value[key], rest) if rest else None
    return {**left, key: inner} if inner else left


log = logging.getLogger(__name__)

REPLACEMENTS: Mapping[str, str] = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""What is sent for a parameter that is refused; everything else that may be refused is left out."""


SWITCH_FIELDS = frozenset(
    {"reasoning_effort", "chat_template_kwargs", "reasoning", "thinking", "output_config", "extra_body"}
    | {"enable_thinking", "thinking_budget"}
)
OTHER_PLACES = {"chat_template_kwargs": "enable_thinking", "messages.reasoning": "reasoning"}
"""Where else a parameter of the same name may stand: some providers have the switch at the top of a body."""
CANNOT_THINK = re.compile(
    r"(does not|doesn't) support (thinking|reasoning)\b"
    r"|\b(thinking|reasoning) is not (supported|enabled) (by|for|with|in) (this|the) model",
    re.IGNORECASE,
)
"""How Ollama and others say that a model does not think; that it does not take a parameter says less."""


RECALLED = frozenset({"messages.reasoning", "messages.reasoning_content"})


DROPPED = frozenset({"temperature", "seed", "stop", "include", "reasoning.summary", *SWITCH_FIELDS, *RECALLED})


class Refusals:
    """What one endpoint does not take, learned from its errors for the rest of a run.

    `known` is what has to be replaced from the start (None: left out), `extra_body` what the person wants sent: it has
    the last word and is never taken away.
    """

    def __init__(self, name: str, known: Mapping[str, str | None], extra_body: JSONObject) -> None:
        self._name = name
        self._replaced = dict(known)
        self._extra_body = extra_body
        self._refused: set[str] = set()
        self.cannot_think = False
        """Whether the endpoint has said that the model does not think: off is what it is, and had nothing to switch."""

    @property
    def refused_switch(self) -> str | None:
        """The field of the reasoning switch that was refused: what was asked for is not what is played."""
        return next(iter(sorted(self._refused & SWITCH_FIELDS)), None)

    def apply(self, body: JSONObject) -> JSONObject:
        """A request body as this endpoint takes it."""
        for parameter, replacement in self._replaced.items():
            if has(body, parameter):
                value = body[parameter] if replacement is not None else None
                body = without(body, parameter)
                if replacement is not None:
                    body[replacement] = value
        return merge_fields(body, self._extra_body)

    def find_plain(self, said: str, refused: str | None, sent: JSONObject) -> str | None:
        """The refused parameter: the switch in `sent` where the endpoint says that the model does not think."""
        switch = next((name for name in sorted(SWITCH_FIELDS) if name in sent), None)
        if switch is None or not CANNOT_THINK.search(said):
            return refused
        self.cannot_think = True
        return switch

    def learn(self, refused: str | None, sent: JSONObject) -> bool:
        """Notes that a parameter of `sent` is not taken. False if there is nothing new to try."""
        if refused is not None and not has(sent, refused):
            refused = OTHER_PLACES.get(refused, refused)
        if refused is None or refused not in {*REPLACEMENTS, *DROPPED}:
            return False
        if not has(sent, refused) or has(self._extra_body, refused):
            return False
        parameter = "max_tokens" if refused == "max_completion_tokens" else refused
        if self._replaced.get(parameter, parameter) != refused:
            return True  # another request has learned it meanwhile
        replacement = REPLACEMENTS.get(refused)
        if refused in self._refused or replacement in self._refused:
            return False
        self._refused.add(refused)
        self._replaced[parameter] = replacement
        self._warn(refused, replacement)
        return True

    def _warn(self, refused: str, replacement: str | None) -> None:
        if refused in SWITCH_FIELDS and self.cannot_think:
            log.warning("%s cannot think, its endpoint says: %s is left out from now on", self._name, refused)
        elif refused in SWITCH_FIELDS:
            log.warning(
                "%s does not take %s: it is left out from now on, so this run is NOT switched to the reasoning that "
                "was asked for",
                self._name,
                refused,
            )
        elif refused in RECALLED:
            log.warning("%s does not take reasoning in its history: from now on none is sent back", self._name)
        else:
            log.warning("%s does not take %s: from now on %s is sent", self._name, refused, replacement or "none")
