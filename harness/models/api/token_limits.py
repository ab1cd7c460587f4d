"""What a refusal says of the new tokens that a request asked for: the most that a reply may have, or what is left.

Two limits are told apart. A model's own limit of output holds for every request. The context holds for a prompt and its
reply together: what it leaves for the reply is another number for every prompt, so it is the request that is fitted.
The wordings are those of OpenAI, Anthropic, Google, vLLM (old and new), SGLang, TGI, llama.cpp, Groq, DeepSeek,
DashScope, Bedrock, Cohere and OpenRouter; a wording that names no limit halves what was asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.types import JSONObject

FIELDS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
"""What the APIs call the new tokens of a reply."""
STATUSES = frozenset({400, 413, 416, 422, 500})
"""Behind 500 there has to be a number: servers that check while they generate name one."""
LEAST_HALVED = 256
"""Halving ends here: a reply with less room is none."""
LEAST_ROOM = 16
"""Tokens for a reply, below which a prompt fills its context; Responses refuses fewer."""


@dataclass(frozen=True, slots=True)
class TokenLimit:
    """`output`: the most tokens that any reply may have. `room`: those that this prompt leaves, in a context of
    `context` where that was named; 0 where the prompt alone fills it."""

    output: int | None = None
    room: int | None = None
    context: int | None = None
    named: bool = True
    """Whether the refusal named what it leaves; else this is a guess, half of what was asked for."""

    @property
    def usable(self) -> bool:
        """Whether it leaves enough to ask again."""
        return (self.output or self.room or 0) >= (1 if self.named else LEAST_HALVED)


def asked_tokens(body: JSONObject) -> int | None:
    """How many new tokens a request asks for; None where it does not say."""
    values = (body.get(name) for name in FIELDS)
    return next((value for value in values if isinstance(value, int) and value > 0), None)


ABOUT = re.compile(
    r"max(?:imum)?[_ ]?(?:completion|output|new|gen)?[_ ]?tokens|(?:output|completion|generated|new) tokens"
    r"|in the (?:completion|output)|for the completion|n_predict|num_predict|max_gen_len|tokens_to_generate"
    r"|(?:output|generation|completion|response)[ _](?:token[ _])?(?:length|limit|size)"
    r"|requested (?:(?:number|amount) of )?tokens|tokens requested",
    re.IGNORECASE,
)
"""That a message speaks of the tokens of a reply."""
TOO_MANY = re.compile(
    r"too (?:large|big|high|many|long)|exceed|greater than|larger|higher|above|less than|lower|fewer|at most|up to"
    r"|no more|maximum|\brange\b|between|invalid|<=|>|limit|reduce|requested|over the|\bcap\b|out of bounds"
    r"|not less or equal|must be in [\[(]|超|最大|范围|非法",
    re.IGNORECASE,
)
OTHERWISE = re.compile(
    r"budget_tokens|stream|limit was reached|try again with (?:a )?higher"
    r"|must be (?:at least|positive|greater)|minimum|too (?:small|low)|>= ?\d"
    r"|per (?:minute|day|hour)|\b[TR]P[MD]\b|unsupported parameter|unrecognized|unknown (?:parameter|field)",
    re.IGNORECASE,
)
"""Other things that are said of the same parameter."""

SUM = r"\b(\d+) \+ (?:`?\w+`? )?{}\b\D{{0,60}}?(\d+)"
"""The prompt beside what was asked for, and the context: "1000 + 4096 > 4096" by Anthropic."""
N_CTX = re.compile(r"n_ctx\W{0,5}(\d+)", re.IGNORECASE)
"""llama.cpp: its size of the context beside the size of the prompt."""
CONTEXT = re.compile(
    r"context[ _-]?(?:length|size|window|limit)[^.\d]{0,40}?(\d+)"
    r"|max_(?:model_len|total_tokens|seq_len)\D{0,14}(\d+)|than the context\D{0,20}\d+ > (\d+)"
    r"|maximum (?:supported )?sequence length\D{0,20}(\d+)|(?:total|model) tokens? limit\W{0,3}(\d+)"
    r"|length is \d+ while limit is (\d+)"
    r"|(?:\bsum of|\bplus\b|combined|total of|[_ ]tokens`? \+ )[^.\d]{0,60}"
    r"(?:exceed|<=|at most|than(?: or equal to)?|limit of)\D{0,12}(\d+)"
    r"|(\d+) maximum context|inputs`? tokens \+ `?max_new_tokens`? must be <= (\d+)",
    re.IGNORECASE,
)
REQUESTED = re.compile(
    r"requested (?:a total of |about )?(\d+) tokens|\(requested: (\d+)\)|length is (\d+) while limit", re.IGNORECASE
)
PROMPT = re.compile(
    r"(\d+) (?:tokens )?(?:in (?:the|your) (?:messages|prompt)|from the input messages|of text input)"
    r"|(\d+) `?input(?:s|`s)?`? tokens"
    r"|(?:request \(|input \(|prompt contains |resulted in )(\d+) tokens|\"n_prompt_tokens\": ?(\d+)"
    r"|(?:prompt|inputs?)(?: tokens| length)? ?\((\d+)\)|got (\d+) \+ \d+|prompt is (\d+) tokens"
    r"|(?:prompt|input) (?:tokens|length) (\d+)|prompt \(total length (\d+)\)",
    re.IGNORECASE,
)
AT_LEAST = re.compile(r"at least \d+ input tokens", re.IGNORECASE)
"""vLLM stops counting a prompt where it no longer fits: the number is a lower bound."""
UNCLEAR = re.compile(
    r"exceeds? (?:the |its )?(?:\w+ ){0,2}context|context_length_exceeded|context \w+ (?:is |was )?exceeded"
    r"|than the context",
    re.IGNORECASE,
)
CLEAR = re.compile(
    r"^(?!.*(?:completion|max_tokens|output)).*(?:\d{4}|prompt|input|messages)", re.IGNORECASE | re.DOTALL
)
"""A context that is exceeded, by the prompt or by what it asks for; and what says that it is the prompt alone."""
BELOW = r"\b(?:less|lower|smaller|fewer) than[\s`'\"]*{}\b"
"""That what was asked for is one too many."""
OUTPUT = re.compile(
    r"(?:at most|up to|no more than|<=|> |(?:less|lower|smaller|greater|larger) than(?: or equal to)?"
    r"|less or equal to|must be in [\[(]\d+,|[超最][^.\d]{0,30}"
    r"|range\b[^.\d]{0,40}\d+(?: \(inclusive\))?(?:,| to| and|\.\.| ?-)|between \d+ and|(?:cap|ceiling) of"
    r"|exceeds?[^.\d]{0,50}|maximum[^.\d]{0,60}|limit(?:ed)?[^.\d]{0,30})"
    r"[\s`'\"]*(\d+)(?P<open>[`'\"]? \(exclusive\))?",
    re.IGNORECASE,
)


def read_token_limit(status: int, text: str, asked: int | None) -> TokenLimit | None:
    """What an error with this status says of `asked` new tokens; None where it is about something else."""
    if status not in STATUSES or asked is None:
        return None
    limit = _read(_plain_numbers(text), asked)
    return None if limit is not None and status == 500 and not limit.named and limit.context is None else limit


def _plain_numbers(text: str) -> str:
    """With 8192 for 8,192 and 8_192, and 8000 for 8k."""
    text = re.sub(r"(?<=\d)(?<![\[(]\d)[,_](?=\d{3}\b)", "", text)
    return re.sub(r"\b(\d{1,4})[kK]\b", lambda found: f"{found[1]}000", text)


def _read(text: str, asked: int) -> TokenLimit | None:
    if (found := re.search(SUM.format(asked), text)) and int(found[2]) < int(found[1]) + asked:
        return _beside(int(found[1]), int(found[2]), asked)
    if (context := _number(N_CTX.search(text) or CONTEXT.search(text))) is not None:
        return _in_context(text, asked, context)
    if OTHERWISE.search(text):
        return None
    if not ABOUT.search(text) or not TOO_MANY.search(text):
        return TokenLimit(room=asked // 2, named=False) if UNCLEAR.search(text) and not CLEAR.search(text) else None
    if re.search(BELOW.format(asked), text, re.IGNORECASE):
        return TokenLimit(output=asked - 1)
    limits = [int(found[1]) - bool(found["open"]) for found in OUTPUT.finditer(text)]
    named = [limit for limit in limits if 0 < limit < asked]
    return TokenLimit(output=max(named)) if named else TokenLimit(output=asked // 2, named=False)


def _in_context(text: str, asked: int, context: int) -> TokenLimit | None:
    """What a context of this size leaves; None where nothing says that it is the reply which does not fit."""
    total = _number(REQUESTED.search(text))
    prompt = _number(PROMPT.search(text))
    if total is not None and total > asked:  # tools are counted apart by some
        prompt = max(prompt or 0, total - asked)
    elif prompt is None and total is not None:
        return None
    if prompt is None:
        blamed = asked >= context or ABOUT.search(text)
        return TokenLimit(room=min(asked, context) // 2, context=context, named=False) if blamed else None
    return _beside(prompt, context, asked, exact=not AT_LEAST.search(text))


def _beside(prompt: int, context: int, asked: int, exact: bool = True) -> TokenLimit:
    """What is left beside a prompt; half of what was asked for where that is not more, or the prompt was not counted
    to its end."""
    room = context - prompt
    if room < LEAST_ROOM:
        return TokenLimit(room=0, context=context)
    if exact and room < asked:
        return TokenLimit(room=room, context=context)
    return TokenLimit(room=min(room, asked // 2), context=context, named=False)


def _number(found: re.Match[str] | None) -> int | None:
    return next((int(part) for part in found.groups() if part), None) if found else None
