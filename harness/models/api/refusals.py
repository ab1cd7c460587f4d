"""Fields that an endpoint refused: learnt from its answers, and left out or renamed in what is sent next."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from harness.errors import UsageError
from harness.models.api.call_ids import NINE, IdRule, find_ids, fit_ids
from harness.models.api.lessons import CONTEXT, TOKENS, Episode, Lessons
from harness.models.api.token_limits import FIELDS as TOKEN_FIELDS
from harness.models.api.token_limits import TokenLimit
from harness.types import JSONObject, ModelRequest, Reasoning


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


CONTENT, PERHAPS_CONTENT = "messages.content", "messages.content?"
"""The empty content beside calls, null or ""; and where an endpoint did not say what broke it."""
OTHER_EMPTY: Mapping[str | None, str | None] = {None: "", "": None}


def empty_contents(body: JSONObject) -> Iterator[str | None]:
    """Every empty content that stands beside calls."""
    for said in body.get("messages", ()):
        if isinstance(said, dict) and said.get("tool_calls") and said.get("content", "-") in (None, ""):
            yield said["content"]


def fill_contents(body: JSONObject, content: str) -> JSONObject:
    """With this content where null stands beside calls."""
    if None not in empty_contents(body):
        return body
    said = [
        {**one, "content": content} if one.get("tool_calls") and one.get("content", "-") is None else one
        for one in body["messages"]
    ]
    return {**body, "messages": said}


CHANGING = frozenset({"temperature", "seed", *SWITCH_FIELDS, *RECALLED})
"""What, left out, changes what the model sees or may say: it stands in the manifest."""


class Refusals:
    """What one endpoint does not take, learned from its errors for the rest of a run.

    `known` is what has to be replaced from the start (None: left out), `ids` what the ids of calls must be, and
    `extra_body` what the person wants sent: it has the last word and is never taken away.
    """

    def __init__(
        self, name: str, known: Mapping[str, str | None], extra_body: JSONObject, ids: IdRule | None = None
    ) -> None:
        self._name = name
        self._replaced = dict(known)
        self._extra_body = extra_body
        self._refused: set[str] = set()
        self.cannot_think = False
        """Whether the endpoint has said that the model does not think: off is what it is, and had nothing to switch."""
        self._ids: IdRule | None = ids
        self._content: str | None = None
        """What an empty content beside calls is sent as."""
        self._contents_refused: set[str | None] = set()
        self._contents_taken: set[str | None] = set()
        self._content_tried = False
        self.lessons = Lessons(CHANGING, SWITCH_FIELDS)

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
        if body.get("temperature") == 0 and (least := self.lessons.values.get("temperature")) is not None:
            body = {**body, "temperature": least}
        if self._content is not None:
            body = fill_contents(body, self._content)
        body = body if self._ids is None else fit_ids(body, self._ids)
        return merge_fields(self._capped(body), self._extra_body)

    def answered(self, body: JSONObject, request: ModelRequest) -> None:
        """Notes what was accepted."""
        self.lessons.answered(body, request)
        self._contents_taken |= set(empty_contents(body))

    def _capped(self, body: JSONObject) -> JSONObject:
        """With no more new tokens than the endpoint gives."""
        if (most := self.lessons.values.get(TOKENS)) is None:
            return body
        return {
            **body,
            **{name: most for name in TOKEN_FIELDS if isinstance(body.get(name), int) and body[name] > most},
        }

    def learn_limit(self, limit: TokenLimit, sent: JSONObject) -> bool:
        """Notes the most new tokens that the endpoint gives, or its context. False if there is nothing new to try."""
        if not limit.usable or any(name in self._extra_body for name in TOKEN_FIELDS):
            return False
        name, value = (TOKENS, limit.output) if limit.output is not None else (CONTEXT, limit.context)
        if value is not None and value < self.lessons.values.get(name, value + 1):
            self.lessons.values[name] = value
            said = "at most %s new tokens a turn" if name == TOKENS else "replies of what a context of %s tokens leaves"
            log.warning("%s gives " + said + ": from now on no more is asked for", self._name, f"{value:,}")
        return True

    def recall(self, learnt: Iterable[Mapping[str, Any]], reasoning: Reasoning, episodes: Collection[Episode]) -> None:
        """Takes up what an earlier part of a run has learnt, and which episodes it had answered."""
        self.lessons.recall(learnt, reasoning, episodes)
        for name in self.lessons.values.keys() & CHANGING:
            if self.lessons.values[name] is None:
                self._refused.add(name)
                self._replaced[name] = None

    def learn_ids(self, rule: IdRule, sent: JSONObject) -> bool:
        """Notes what the ids of calls must be; nine letters and digits, which every provider takes, where those that
        were sent are as it says. False where they are that too."""
        wanted = next((one for one in (rule, NINE) if not all(map(one.fits, find_ids(sent)))), None)
        if wanted is not None:
            self._ids = wanted
        return wanted is not None

    def _learn_content(self, perhaps: bool, sent: JSONObject) -> bool:
        """Tries the other empty content: once where nothing says that this one is to blame, and it was never taken."""
        empty = set(empty_contents(sent))
        if not empty or (perhaps and empty & self._contents_taken):
            return False
        if self._content not in empty:
            return True  # another request has learned it meanwhile
        if perhaps and self._content_tried:
            self._content = "" if None in self._contents_refused else None
            return False
        if perhaps:
            self._content_tried = True
        else:
            self._contents_refused.add(self._content)
        if self._contents_refused == {None, ""}:
            return False
        self._content = OTHER_EMPTY[self._content]
        log.info("%s gets %r as an empty content beside calls from now on", self._name, self._content)
        return True

    def asks_least(self, sent: JSONObject) -> bool:
        """Whether a request has a temperature of 0, or what is sent in its place."""
        asked = sent.get("temperature")
        return asked is not None and asked in {0, self.lessons.values.get("temperature")}

    def _learn_least(self, least: float, sent: JSONObject) -> bool:
        """Sends a least temperature in place of 0; none at all where that is refused too."""
        if "temperature" not in sent or "temperature" in self._extra_body:
            return False
        asked, now = sent["temperature"], self.lessons.values.get("temperature", 0)
        if asked != now:
            return True  # another request has learned it meanwhile
        if least <= asked:
            return self.learn("temperature", sent)
        self.lessons.values["temperature"] = least
        log.warning("%s does not take temperature %g: from now on %g is sent", self._name, asked, least)
        return True

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
        if refused in {CONTENT, PERHAPS_CONTENT}:
            return self._learn_content(refused == PERHAPS_CONTENT, sent)
        if refused is not None and refused.startswith("temperature="):
            return self._learn_least(float(refused.partition("=")[2]), sent)
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
        if refused in CHANGING:
            self.lessons.values[refused] = None
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
