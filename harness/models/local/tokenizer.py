"""A model's tokenizer, chat template and format: text to token ids and back, and where a turn ends."""

from __future__ import annotations

import bisect
import copy
import hashlib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness import formats
from harness.errors import UsageError
from harness.models.local.adapter import read_object
from harness.models.local.bounded import TemplateLimit, render_within_limits
from harness.models.local.folder import ModelFolder, _check_remote_code
from harness.models.local.packages import first_line, import_quietly, set_library_defaults
from harness.models.local.prompting import Prompter, Render
from harness.models.local.proof import mend_template
from harness.types import JSONObject, Message

SAVED_FORMAT = "tool_call_format"
"""The key of tokenizer_config.json that names the format, where the template does not tell it."""
TURN_END_TOKENS = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<end_of_turn>",
    "<turn|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
)
"""Tokens that end a turn in the templates that name them, whatever the configuration says."""


@dataclass(frozen=True, slots=True)
class ModelTokenizer:
    """A checked directory with its tokenizer, its prompter, and the tokens that end a turn."""

    folder: ModelFolder
    tokenizer: Any
    prompter: Prompter
    format: formats.Format
    end_token_ids: tuple[int, ...]

    def encode(self, text: str) -> list[int]:
        """Token ids; templates write their own first token, so none is added."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids with special tokens in it, because some formats are written with them."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def save_tokenizer(self, folder: Path) -> None:
        """Writes the tokenizer so that whoever opens the folder reads and writes as is done here: with this template,
        and with this format of calls where the template alone would tell another."""
        tokenizer = copy.deepcopy(self.tokenizer)
        if tokenizer.get_chat_template(tools=[]) != self.prompter.template:
            tokenizer.chat_template = self.prompter.template
        tokenizer.init_kwargs.pop(SAVED_FORMAT, None)
        if formats.tell_format(self.prompter.template) != self.format.name:
            tokenizer.init_kwargs[SAVED_FORMAT] = self.format.name
        tokenizer.save_pretrained(folder)

    def identity(self, **more: object) -> dict[str, Any]:
        """What decides the replies, wherever the directory lies."""
        template = hashlib.sha256(self.prompter.template.encode()).hexdigest()[:16]
        return {
            "sha256": self.folder.digest,
            "template": template,
            "format": self.format.name,
            **({"mended": list(self.prompter.mends)} if self.prompter.mends else {}),
            **more,
        }


def open_tokenizer(folder: ModelFolder, args: Mapping[str, str]) -> ModelTokenizer:
    """Loads the tokenizer; needs transformers, not torch. Raises UsageError where it cannot be."""
    set_library_defaults()
    transformers = import_quietly("transformers")
    _check_remote_code(folder)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            **folder.tokenizer_source, local_files_only=True, trust_remote_code=False
        )
        template = folder.template or tokenizer.get_chat_template(tools=[])
    except Exception as error:
        # Whatever is wrong with these files, transformers has dozens of exceptions for it.
        raise UsageError(f"{folder.name}: its tokenizer cannot be loaded: {first_line(error)}.") from None
    _check_vocabulary(folder, tokenizer)
    chosen = formats.choose_format(template, args.get("format") or tokenizer.init_kwargs.get(SAVED_FORMAT))
    prompter = Prompter(folder.name, template, make_renderer(tokenizer, template), chosen)
    _check_template(prompter)
    return ModelTokenizer(folder, tokenizer, mend_template(prompter), chosen, turn_ends(folder, tokenizer, template))


def _check_vocabulary(folder: ModelFolder, tokenizer: Any) -> None:
    """Raises UsageError where an adapter brings tokens that its model has no place for."""
    size = folder.config.get("vocab_size")
    if folder.tokenizer_path is not None and isinstance(size, int) and len(tokenizer) > size:
        raise UsageError(
            f"{folder.name}: the tokenizer in {folder.tokenizer_path} has {len(tokenizer)} tokens, its model {size}: "
            "merge the adapter into its model, and name that."
        )


def _check_template(prompter: Prompter) -> None:
    """Raises UsageError for a template that is none. What it refuses of a conversation is seen when it is rendered."""
    errors = importlib.import_module("jinja2.exceptions")
    try:
        prompter.render([{"role": "user", "content": "?"}], None, {})
    except errors.TemplateSyntaxError as error:
        raise UsageError(
            f"{prompter.name}: its chat template has an error in line {error.lineno}: {error.message}."
        ) from None
    except TemplateLimit:
        raise
    except Exception:
        return


def make_renderer(tokenizer: Any, template: str, opens: bool = True) -> Render:
    """A chat template as a function; `opens`: with the words that begin the next turn."""

    def render(messages: list[JSONObject], tools: list[JSONObject] | None, options: JSONObject) -> str:
        fixed = {"chat_template": template, "add_generation_prompt": opens, "tokenize": False}
        call = partial(tokenizer.apply_chat_template, messages, tools=tools, **fixed, **options)
        return render_within_limits(tokenizer.name_or_path, call)

    return render


def turn_ends(folder: ModelFolder, tokenizer: Any, template: str) -> tuple[int, ...]:
    """Every token that ends a turn: by the generation configuration, the tokenizer, and the template's own markers."""
    path = folder.path / "generation_config.json"
    configured = [read_object(folder.name, path).get("eos_token_id")] if path.is_file() else []
    configured += [folder.config.get("eos_token_id"), tokenizer.eos_token_id]
    flat = [one for value in configured for one in (value if isinstance(value, list) else [value])]
    vocabulary = tokenizer.get_vocab()
    marked = [vocabulary[token] for token in TURN_END_TOKENS if token in template and token in vocabulary]
    return tuple(sorted({one for one in [*flat, *marked] if isinstance(one, int)}))


def cut_at_turn_end(local: ModelTokenizer, ids: Sequence[int]) -> tuple[Sequence[int], str, bool]:
    """The tokens that count, their text up to the end of the turn, and whether there was an end.

    The token that ends a turn counts but is no text. A stop string of the format is no text either, and the tokens
    that spell it count.
    """
    end = next((place for place, token in enumerate(ids) if token in local.end_token_ids), None)
    kept = ids if end is None else ids[: end + 1]
    text = local.decode(ids if end is None else ids[:end])
    stops = [place for stop in local.format.stop if (place := text.find(stop)) >= 0]
    if not stops:
        return kept, text, end is not None
    short = text[: min(stops)]
    needed = bisect.bisect_left(range(len(kept)), True, key=lambda n: has_stop_string(local, kept[:n]))
    return kept[:needed], short, True


def has_stop_string(local: ModelTokenizer, ids: Sequence[int]) -> bool:
    """Whether a stop string of the format is in the text of some tokens."""
    text = local.decode(ids)
    return any(stop in text for stop in local.format.stop)


def reasoning_tokens(local: ModelTokenizer, message: Message) -> int:
    return len(local.encode(message.reasoning)) if message.reasoning else 0
