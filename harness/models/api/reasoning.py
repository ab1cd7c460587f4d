"""Each provider's reasoning switch: the fields of a request that turn reasoning off, on, or to an effort or budget.

One meaning (harness.types.Reasoning) is mapped to what each API has for it. A value that an API has no field for raises
UsageError before anything is sent; what an endpoint refuses all the same is left out by refusals.py.
docs/endpoints.md has the table and its sources.

Left out: efforts beyond low, medium and high; asking an API which models take which field.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from harness.errors import UsageError
from harness.types import JSONObject, Reasoning

log = logging.getLogger(__name__)

Switch = Callable[[Reasoning], JSONObject]
"""The fields of a request body that say what a Reasoning means; {} for the mode default."""

# --- OpenAI ------------------------------------------------------------------------------------------------------

ALWAYS_REASONS = re.compile(r"(o\d|gpt-5)(-(mini|nano|pro|codex))*(-\d{4}.*)?$")
"""OpenAI's models whose lowest effort is not none: the o series and GPT-5 before 5.1."""


def effort_of(name: str, reasoning: Reasoning) -> str:
    """The effort of an API that has nothing else. Raises UsageError for a budget of tokens."""
    if reasoning.mode == "off":
        return "none"
    if reasoning.budget is not None:
        raise UsageError(f"{name} takes an effort, not a budget: use low, medium or high.")
    return reasoning.effort or "medium"


PLAIN_MODEL = re.compile(
    r"(ft:)?(chatgpt-4o|gpt-3\.5|gpt-4|gpt-5-chat)|gemini-(1|2\.0)(?!.*thinking)"
    r"|claude-(2|instant|3-(opus|sonnet|haiku)|3-5-)"
)
"""Providers' models that do not think: off has nothing to switch, and its field would be refused."""


def is_plain(name: str, reasoning: Reasoning) -> bool:
    """Whether off is asked of a model that is known not to think."""
    return reasoning.mode == "off" and PLAIN_MODEL.match(name.rpartition("/")[2]) is not None


def openai_chat_switch(name: str, reasoning: Reasoning) -> JSONObject:
    """`reasoning_effort` of OpenAI's chat completions."""
    if reasoning.mode == "default" or is_plain(name, reasoning):
        return {}
    refuse_off(name, reasoning)
    return {"reasoning_effort": effort_of(name, reasoning)}


def openai_responses_switch(name: str, reasoning: Reasoning) -> JSONObject:
    """`reasoning` of the Responses API; a summary is asked for where there is anything to summarise."""
    if reasoning.mode == "default" or is_plain(name, reasoning):
        return {}
    refuse_off(name, reasoning)
    effort = effort_of(name, reasoning)
    return {"reasoning": {"effort": effort} if effort == "none" else {"effort": effort, "summary": "auto"}}


def refuse_off(name: str, reasoning: Reasoning) -> None:
    if reasoning.mode == "off" and ALWAYS_REASONS.match(name.rpartition("/")[2]):
        raise UsageError(f"{name} always reasons: its reasoning cannot be turned off, use low.")


OWN_SWITCHES = ("template", "effort", "dashscope", "openrouter", "none")
DASHSCOPE = re.compile(r"(.+\.)?dashscope[a-z0-9-]*\.aliyuncs\.com")
OPENROUTER = re.compile(r"(.+\.)?openrouter\.ai")


def switch_of_host(host: str) -> str:
    """The one of OWN_SWITCHES that an endpoint has by its host, where that is not OpenAI's."""
    if DASHSCOPE.fullmatch(host):
        return "dashscope"
    return "openrouter" if OPENROUTER.fullmatch(host) else "template"


def own_server_switch(name: str, reasoning: Reasoning, how: str = "template") -> JSONObject:
    """A server of one's own. `template`: the chat template's enable_thinking, which vLLM, SGLang and llama.cpp take,
    and reasoning_effort beside it for an effort; `effort`: reasoning_effort only; `dashscope`, `openrouter`: as these
    have it; `none`: nothing is sent, because the server was started in the mode that is evaluated."""
    if reasoning.mode == "default" or how == "none":
        return {}
    if how == "dashscope":
        return dashscope_switch(name, reasoning)
    if how == "openrouter":
        return {} if is_plain(name, reasoning) else openrouter_switch(reasoning)
    effort = effort_of(name, reasoning)
    if how == "effort":
        return {"reasoning_effort": effort}
    template: JSONObject = {"chat_template_kwargs": {"enable_thinking": reasoning.mode == "on"}}
    return {**template, "reasoning_effort": effort} if reasoning.effort and reasoning.mode == "on" else template


def dashscope_switch(name: str, reasoning: Reasoning) -> JSONObject:
    """`enable_thinking` at the top of a body, and `thinking_budget`. Raises UsageError for an effort."""
    if reasoning.effort is not None:
        raise UsageError(f"{name} takes a budget, not an effort, on this endpoint: use on or budget:N.")
    switched: JSONObject = {"enable_thinking": reasoning.mode == "on"}
    return switched if reasoning.budget is None else {**switched, "thinking_budget": reasoning.budget}


def openrouter_switch(reasoning: Reasoning) -> JSONObject:
    """`reasoning` with one of enabled, effort and max_tokens, which the router turns into what each provider has."""
    if reasoning.budget is not None:
        return {"reasoning": {"max_tokens": reasoning.budget}}
    return {"reasoning": {"effort": reasoning.effort} if reasoning.effort else {"enabled": reasoning.mode == "on"}}


# --- Gemini ------------------------------------------------------------------------------------------------------

GEMINI_VERSION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
GEMINI_BUDGETS = {"low": 1024, "medium": 8192, "high": 24576}
"""What the compatible endpoint itself makes of reasoning_effort for Gemini 2.5."""


def gemini_switch(name: str, reasoning: Reasoning) -> JSONObject:
    """`thinking_config`: budgets up to Gemini 2.5, levels from Gemini 3 on; thoughts are asked for where there are any.

    Raises UsageError for off where a model always thinks: 2.5 Pro, and everything from Gemini 3 on.
    """
    if reasoning.mode == "default" or is_plain(name, reasoning):
        return {}
    model = name.rpartition("/")[2]
    found = GEMINI_VERSION.match(model)
    by_level = not found or int(found[1]) >= 3
    if reasoning.mode == "off":
        if by_level or "-pro" in model:
            raise UsageError(f"{name} always thinks: its thinking cannot be turned off, use low.")
        config: JSONObject = {"thinking_budget": 0}
    elif reasoning.budget is not None:
        config = {"thinking_budget": reasoning.budget, "include_thoughts": True}
    elif by_level:
        level = {"thinking_level": reasoning.effort} if reasoning.effort else {}
        config = {**level, "include_thoughts": True}
    else:
        budget = GEMINI_BUDGETS[reasoning.effort] if reasoning.effort else -1
        config = {"thinking_budget": budget, "include_thoughts": True}
    return {"extra_body": {"google": {"thinking_config": config}}}


# --- Anthropic ---------------------------------------------------------------------------------------------------

CLAUDE = re.compile(r"claude-(?P<line>opus|sonnet|haiku|fable|mythos)(?:-(?P<major>\d)(?:-(?P<minor>\d{1,2}))?(?!\d))?")
OLD_CLAUDE = re.compile(r"claude-([23]|instant)")
CLAUDE_BUDGETS = {"low": 1024, "medium": 3072, "high": 6144}
"""Ours, for models that have budgets and no efforts: all of them leave room for an answer in 8,192 tokens a turn."""
LEAST_CLAUDE_BUDGET = 1024


class ClaudeFeatures:
    """What the API takes from a Claude model, by its name; a name that says nothing counts as the newest."""

    def __init__(self, name: str) -> None:
        self.name = name
        model = name.rpartition("/")[2]
        found = CLAUDE.search(model)
        self._line = found["line"] if found else ""
        version = (int(found["major"]), int(found["minor"] or 0)) if found and found["major"] else (9, 0)
        self._version = (3, 0) if OLD_CLAUDE.search(model) else version

    @property
    def adaptive(self) -> bool:
        """Thinks as much as it sees fit, steered by an effort: Opus and Sonnet 4.6 and everything later."""
        return self._version >= (4, 6)

    @property
    def takes_budget(self) -> bool:
        return self._version < (4, 7) and self._line not in {"fable", "mythos"}

    @property
    def takes_temperature(self) -> bool:
        """From Opus 4.7 on the API answers any other temperature than its own with status 400."""
        return self.takes_budget

    @property
    def off_fields(self) -> JSONObject | None:
        """The field that turns thinking off; None where the API has none."""
        if self._line in {"fable", "mythos"} or (self._line == "opus" and self._version >= (5, 5)):
            return None
        if self._line == "sonnet" and self._version >= (5, 5):
            return {"thinking": {"type": "between_tools"}}
        return {"thinking": {"type": "disabled"}}

    def switch(self, reasoning: Reasoning) -> JSONObject:
        """`thinking`, and `output_config` for an effort. Raises UsageError for what the model has no setting for."""
        if reasoning.mode == "default" or is_plain(self.name, reasoning):
            return {}
        if reasoning.mode == "off":
            if self.off_fields is None:
                raise UsageError(f"{self.name} always thinks: its thinking cannot be turned off, use low.")
            return self.off_fields
        if reasoning.history == "none":
            raise UsageError(
                f"{self.name} refuses tool results without the thinking that led to them: "
                "with reasoning on, its history needs at least `last`."
            )
        if reasoning.budget is not None or not self.adaptive:
            return {"thinking": {"type": "enabled", "budget_tokens": self._budget(reasoning)}}
        # Later models give thinking blocks without a text unless they are asked for one.
        thinking: JSONObject = {"thinking": {"type": "adaptive", "display": "summarized"}}
        return {**thinking, "output_config": {"effort": reasoning.effort}} if reasoning.effort else thinking

    def _budget(self, reasoning: Reasoning) -> int:
        budget = reasoning.budget
        if budget is None:
            return CLAUDE_BUDGETS[reasoning.effort or "medium"]
        if not self.takes_budget:
            raise UsageError(f"{self.name} takes an effort, not a budget: use low, medium or high.")
        if budget < LEAST_CLAUDE_BUDGET:
            raise UsageError(f"{self.name} thinks with a budget of at least {LEAST_CLAUDE_BUDGET:,} tokens.")
        return budget


# --- fields together ---------------------------------------------------------------------------------------------


# --- what an endpoint refuses ------------------------------------------------------------------------------------
