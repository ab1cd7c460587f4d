"""A network made from nothing: its tokenizer, its chat template, and a Qwen3 model from a configuration.

The chat template follows Qwen3's conventions (ChatML turns, tools in <tools>, calls in <tool_call>, outputs in
<tool_response>, `enable_thinking`), so that servers treat the network as they treat that family. Unlike Qwen3's it
never rewrites an earlier turn: what was rendered stays the beginning of what is rendered later.

The tokenizer is made for invented names, which a network this small can only use by copying them. A word's pieces are
the same wherever it stands: a space before a capitalised word is a token of its own, and so is every digit. The
scaffolding around names (template, schemas, the prompt's fixed sentences) is one token a piece, which shortens an
episode by a factor of four. All of them are non-special tokens, because decoding skips special ones.

Left out: byte-pair dropout, a system prompt of the network's own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from envbuilder.records import QUESTION_PROMPT
from harness.errors import UsageError
from harness.models.api.chat import wire_tool
from harness.types import JSONObject, Message, Tool, Trajectory

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

START, END, PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
MARKS = ("<tool_call>", "</tool_call>", "<think>", "</think>", "<tool_response>", "</tool_response>")
CONTEXT = 4096
"""Positions the network is configured for; training episodes need about 300."""
ROPE_THETA = 1e6
SHARPNESS = 5.0
COPYING = 10.0
WRITING = 2.0
ALIKE = 4
EARLIER = 0.8
"""How much sharper than usual the attention of the first two layers begins."""

CHAT_TEMPLATE = """\
{%- macro as_text(content) -%}
    {%- if content is string -%}
        {{- content -}}
    {%- elif content -%}
        {%- for part in content -%}{{- part.text if part.type == 'text' else '' -}}{%- endfor -%}
    {%- endif -%}
{%- endmacro -%}
{%- set first = messages[0] if messages else none -%}
{%- set system = as_text(first.content) if first and first.role == 'system' else '' -%}
{%- if tools or system -%}
    {{- '<|im_start|>system\\n' + system -}}
    {%- if tools -%}
        {{- '\\n\\n' if system else '' -}}
        {{- '# Tools\\n\\nThese functions can be called:\\n<tools>' -}}
        {%- for tool in tools -%}
            {%- set function = tool.function if tool.function is defined else tool -%}
            {{- '\\n{"type": "function", "function": {"description": ' + ((function.description or '') | tojson) -}}
            {{- ', "parameters": ' + (function.parameters | tojson) -}}
            {{- ', "name": ' + (function.name | tojson) + '}}' -}}
        {%- endfor -%}
        {{- '\\n</tools>\\n\\nA call is a JSON object between the two marks:\\n<tool_call>\\n' -}}
        {{- '{"name": <function>, "arguments": <object>}\\n</tool_call>' -}}
    {%- endif -%}
    {{- '<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
    {%- if message.role == 'system' and loop.first -%}
    {%- elif message.role == 'tool' -%}
        {%- if loop.first or messages[loop.index0 - 1].role != 'tool' -%}{{- '<|im_start|>user' -}}{%- endif -%}
        {{- '\\n<tool_response>\\n' + as_text(message.content) + '\\n</tool_response>' -}}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' -%}{{- '<|im_end|>\\n' -}}{%- endif -%}
    {%- elif message.role == 'assistant' -%}
        {%- set thought = message.reasoning_content or message.reasoning or '' -%}
        {{- '<|im_start|>assistant\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' -}}
        {%- set said = as_text(message.content).strip('\\n') -%}
        {{- said -}}
        {%- for tool_call in message.tool_calls or [] -%}
            {%- set call = tool_call.function if tool_call.function else tool_call -%}
            {{- '\\n' if said or not loop.first else '' -}}
            {{- '<tool_call>\\n{"name": ' + (call.name | tojson) + ', "arguments": ' -}}
            {{- call.arguments if call.arguments is string else call.arguments | tojson -}}
            {{- '}\\n</tool_call>' -}}
        {%- endfor -%}
        {{- '<|im_end|>\\n' -}}
    {%- else -%}
        {{- '<|im_start|>' + message.role + '\\n' + as_text(message.content) + '<|im_end|>\\n' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n' -}}
    {%- if enable_thinking is defined and enable_thinking is false -%}{{- '<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}
{%- endif -%}
"""

SCAFFOLDING = (
    # the template's own sentences
    "system\n# Tools\n\nThese functions can be called:\n<tools>",
    '\n</tools>\n\nA call is a JSON object between the two marks:\n<tool_call>\n{"name": <function>, "arguments": '
    "<object>}\n</tool_call>",
    "user\n",
    "assistant\n",
    # a tool
    '\n{"type": "function", "function": {"description": "',
    '.", "parameters": {"type": "object", "properties": {"',
    '": {"type": "string", "description": "',
    '": {"type": "integer", "description": "',
    '": {"type": "number", "description": "',
    '": {"type": "string", "format": "date", "description": "',
    '."}, "',
    '."}}, "required": ["',
    '", "',
    '"]}, ',
    '"}}',
    # a call and an output
    "\n{",
    '"name": "',
    '", "arguments": {"',
    '": "',
    '": ',
    "}}",
    ', "',
    '"}\n',
    "}\n",
    "Answer: ",
)

WORDS = r"'s|\d| ?[a-z]+|[A-Z][a-z]*|[^A-Za-z\d]"
"""What byte pairs may merge within: a lower-case word with its space, a capitalised word without, a digit, a mark."""

ASSISTANT = re.compile(
    rf"{re.escape(START)}assistant\n(?:<think>\n\n</think>\n\n)?(.*?{re.escape(END)})", flags=re.DOTALL
)
"""A turn of the assistant; the group is what it says itself: all but what the template gives it to begin with."""

IGNORE_INDEX = -100
"""The label of a token that no loss is taken on."""


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """A network's size. Heads are `head` wide; keys and values have half as many heads as queries."""

    width: int = 128
    inner: int = 320
    layers: int = 4
    heads: int = 2
    head: int = 64

    @property
    def least_parameters(self) -> int:
        """Numbers in its layers' matrices, and in the one that `new_model` draws directions from."""
        projections = self.head * (2 * self.heads + 2 * max(1, self.heads // 2))
        return self.layers * self.width * (projections + 3 * self.inner) + self.width**2


# --- text --------------------------------------------------------------------------------------------------------


def wire_messages(messages: Sequence[Message]) -> list[JSONObject]:
    """Messages as chat templates take them, reasoning included."""
    return [_wire_message(message) for message in messages]


def _wire_message(message: Message) -> JSONObject:
    wire: JSONObject = {"role": message.role, "content": message.content}
    if message.reasoning:
        wire["reasoning_content"] = message.reasoning
    if message.tool_calls:
        wire["tool_calls"] = [
            {"type": "function", "function": {"name": call.name, "arguments": call.arguments or {}}}
            for call in message.tool_calls
        ]
    return wire


def render_episode(tools: Sequence[Tool], trajectory: Trajectory) -> str:
    """An episode as one text, rendered by TEMPLATE."""
    from transformers.utils.chat_template_utils import render_jinja_template

    offered: list[Any] = [wire_tool(tool) for tool in tools]
    found = render_jinja_template([wire_messages(trajectory.messages)], offered, chat_template=CHAT_TEMPLATE)
    return str(found[0][0])


# --- tokens ------------------------------------------------------------------------------------------------------


def train_tokenizer(texts: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of `size` entries, scaffolding included, trained on rendered episodes."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    fixed = [*MARKS, *SCAFFOLDING, *_prompt_parts()]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [PAD, START, END]
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in fixed])
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(special) - len(fixed),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    scaffold = re.compile("|".join(re.escape(text) for text in sorted([*special, *fixed], key=len, reverse=True)))
    tokenizer.train_from_iterator((part for text in texts for part in scaffold.split(text) if part), trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in fixed])
    wrapped: PreTrainedTokenizerFast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )
    return wrapped


def _prompt_parts() -> list[str]:
    """The fixed sentences around a question."""
    before, _, after = QUESTION_PROMPT.partition("{question}")
    return [before.rstrip(), after]


def encode_episode(tokenizer: PreTrainedTokenizerFast, text: str) -> dict[str, list[int]]:
    """A rendered episode as input_ids and labels of one length; only what the assistant says has labels.

    The text is cut where a turn of the assistant begins and ends, so that tokens are those that it generates from.
    """
    ids: list[int] = []
    labels: list[int] = []

    def add(piece: str, says: bool) -> None:
        encoded = tokenizer.backend_tokenizer.encode(piece, add_special_tokens=False).ids
        ids.extend(encoded)
        labels.extend(encoded if says else [IGNORE_INDEX] * len(encoded))

    end = 0
    for turn in ASSISTANT.finditer(text):
        add(text[end : turn.start(1)], False)
        add(turn.group(1), True)
        end = turn.end()
    add(text[end:], False)
    return {"input_ids": ids, "labels": labels}


# --- weights -----------------------------------------------------------------------------------------------------


def require_memory(shape: NetworkShape) -> None:
    """Raises UsageError for a network whose float32 numbers alone are more than this machine's memory."""
    there, wanted = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), 4 * shape.least_parameters
    if wanted > there:
        raise UsageError(
            f"A network of this size takes {wanted / 1e9:,.0f} GB, and this machine has {there / 1e9:,.0f} GB of "
            "memory; lower width, inner, layers, heads or head."
        )


def new_model(shape: NetworkShape, tokenizer: PreTrainedTokenizerFast, seed: int) -> PreTrainedModel:
    """A Qwen3 model with random weights, float32, embeddings tied."""
    from transformers import Qwen3Config, Qwen3ForCausalLM, set_seed

    set_seed(seed)
    settings: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": shape.width,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": max(1, shape.heads // 2),
        "head_dim": shape.head,
        "max_position_embeddings": CONTEXT,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA},
        "initializer_range": shape.width**-0.5 / 2,
        "tie_word_embeddings": True,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        "use_cache": True,
    }
    model: PreTrainedModel = Qwen3ForCausalLM(Qwen3Config(**settings))
    _start_related(model, tokenizer)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    _start_copying(model, shape)
    return model


def _start_related(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Lets words that begin alike start from embeddings that are alike, so that a question's " registered" is near a
    tool's "registration" before anything is learnt. A third each: the token's own, its letters', their beginning's."""
    import torch

    embeddings = model.model.embed_tokens.weight
    shared: dict[str, Any] = {}

    def vector(key: str) -> Any:
        return shared.setdefault(key, torch.randn(embeddings.shape[1]) * model.config.initializer_range)

    with torch.no_grad():
        for token in range(len(tokenizer)):
            letters = str(tokenizer.decode([token])).strip().casefold()
            if len(letters) >= ALIKE and letters.isalpha():
                sum_of = embeddings[token] + vector(letters) + vector(letters[:ALIKE] + "-")
                embeddings[token] = sum_of / 3**0.5


def _start_copying(model: PreTrainedModel, shape: NetworkShape) -> None:
    """Sets three heads so that the network begins as one that can go on with what it has seen before.

    A network of this size finds that circuit by itself only after most of a short training, and without it no name is
    ever copied. The first two heads of layer 0 look one and two tokens back and write down which tokens they found;
    the first head of layer 1 looks for places that follow the same two tokens as the next token will, and says what
    stands there (an induction head). The two heads of layer 0 share keys and values. Everything stays trainable.
    """
    import torch

    first, second = (layer.self_attn for layer in model.model.layers[:2])
    embeddings = model.model.embed_tokens.weight
    width, head, pairs = shape.width, shape.head, shape.head // 2
    speeds = ROPE_THETA ** (-torch.arange(pairs) / pairs)
    fast, slow = (speeds > 0.1).nonzero()[:, 0], (speeds < 0.0015).nonzero()[:, 0]
    told = torch.cat([slow, slow + pairs])  # the dimensions of a head that rotate too slowly to lose a distant match
    code = torch.linalg.qr(torch.randn(width, width)).Q
    code[:, -1] = 0  # the last component of every embedding is the constant by which a head can look at places alone
    read, once, twice, rest = code.split([len(told)] * 3 + [width - 3 * len(told)])
    mixed = torch.linalg.qr(torch.randn(len(told), len(told))).Q
    copy = torch.cat([read, rest])[:head]
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight *= 0.5 / shape.layers
            layer.mlp.down_proj.weight *= 0.5 / shape.layers
        constant = torch.zeros(width)
        constant[-1] = 1.0
        embeddings[:, -1] = embeddings.norm(dim=1).mean()
        size = embeddings.norm(dim=1).mean() / width**0.5  # what a normalised input shrinks to in the residual stream
        for attention in (first, second):
            attention.q_norm.weight.fill_(SHARPNESS**0.5)
            attention.k_norm.weight.fill_(SHARPNESS**0.5)
            for projection in (attention.k_proj, attention.v_proj):
                projection.weight[:head] = 0
        first.k_proj.weight[fast] = constant.expand(len(fast), width)
        first.v_proj.weight[: len(told)] = read
        for back, write in enumerate((once, twice)):
            at = back * head
            first.q_proj.weight[at : at + head] = 0
            first.q_proj.weight[at + fast] = (speeds[fast] * (back + 1)).cos()[:, None] * constant
            first.q_proj.weight[at + fast + pairs] = -(speeds[fast] * (back + 1)).sin()[:, None] * constant
            first.o_proj.weight[:, at : at + head] = 0
            first.o_proj.weight[:, at : at + len(told)] = size * WRITING * write.T
        second.q_proj.weight[:head] = 0
        second.q_proj.weight[told] = WRITING * read + EARLIER * mixed @ once
        second.k_proj.weight[told] = once + EARLIER * mixed @ twice
        second.v_proj.weight[: len(copy)] = copy
        second.o_proj.weight[:, :head] = 0
        second.o_proj.weight[:, : len(copy)] = size * COPYING * copy.T
