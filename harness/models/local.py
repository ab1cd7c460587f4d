"""A model in a directory: what is checked before anything is loaded, its identity, its tokenizer and its format.

Shared by hf/, vllm/ and vllm-server/ with a directory. Only safetensors are read and no code that came with a model is
run: pickled weights and `auto_map` can both be programs. Nothing is fetched from a hub.

Left out: adapters (merge them first), models with an image or audio encoder on hf/ (vLLM serves them).
"""

from __future__ import annotations

import bisect
import hashlib
import importlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness import formats, jsonio
from harness.errors import ModelFailure, UsageError
from harness.models import ModelOptions
from harness.models.prompting import Prompt, Prompter, Render
from harness.stops import StopReason
from harness.types import JSONObject, Message, ModelRequest, Reply, Usage

ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Set where unset, before torch is imported: waiting threads that spin cost eight times the time on a busy machine, and
nothing may reach a hub."""

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tekken.json", "vocab.json", "vocab.txt")
TEMPLATES = ("chat_template.jinja", "chat_template.json", "additional_chat_templates")
CAUSAL = ("ForCausalLM", "LMHeadModel")
SERVED = (*CAUSAL, "ForConditionalGeneration")
"""What vLLM generates text with: also models that see."""
IDENTITY = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "tekken.json",
    "chat_template.*",
    "additional_chat_templates/*",
)
"""The files that decide what a model says."""
TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<turn|>", "<|end|>", "<|return|>", "<|call|>")
"""Tokens that end a turn in the templates that name them, whatever the configuration says."""

OUT_OF_CONTEXT: StopReason = "context_length"


# --- checks ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory that passed the checks. `name` is the model's full name; `template` what --model-arg gave, or None;
    `longest` a context that was set shorter than the model's own."""

    name: str
    path: Path
    config: JSONObject
    template: str | None = None
    longest: int | None = None

    @property
    def context(self) -> int | None:
        """Tokens that prompt and reply may have together, where anything says."""
        if self.longest is not None:
            return self.longest
        for config in (self.config, self.config.get("text_config")):
            for key in ("max_position_embeddings", "n_positions", "max_seq_len"):
                if isinstance(config, dict) and isinstance(length := config.get(key), int) and length > 0:
                    return length
        return None


def check_folder(name: str, path: Path, args: Mapping[str, str], kinds: Sequence[str] = CAUSAL) -> Folder:
    """Reads names and small files only. Raises UsageError, one sentence each, for what is missing or not allowed."""
    if not path.is_dir():
        raise UsageError(f"{name}: there is no directory {path}.")
    if not (path / "config.json").is_file():
        raise UsageError(f"{name}: {path} has no config.json, so it is no model that transformers could load.")
    config = _read_object(name, path / "config.json")
    _check_architecture(name, config, kinds)
    _check_weights(name, path)
    if not any((path / file).is_file() for file in TOKENIZERS):
        raise UsageError(f"{name}: {path} has no tokenizer (tokenizer.json or tokenizer.model).")
    given = args.get("chat_template")
    if given is None and not _has_template(name, path):
        raise UsageError(
            f"{name}: {path} has no chat template; give one with --model-arg chat_template=FILE, with --model-arg "
            "format=react where it takes no tools."
        )
    return Folder(name, path, config, None if given is None else _read_template(Path(given)))


def _read_object(name: str, path: Path) -> JSONObject:
    try:
        value = jsonio.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{name}: {path} cannot be read as JSON: {error}.") from None
    if not isinstance(value, dict):
        raise UsageError(f"{name}: {path} holds no JSON object.")
    return value


def _read_template(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"The chat template {path} cannot be read: {error}.") from None


def _check_architecture(name: str, config: JSONObject, kinds: Sequence[str]) -> None:
    listed = config.get("architectures")
    architectures = [kind for kind in listed if isinstance(kind, str)] if isinstance(listed, list) else []
    if not any(kind.endswith(tuple(kinds)) for kind in architectures):
        found = ", ".join(architectures) or "an unnamed architecture"
        raise UsageError(f"{name} holds {found}, which is not a causal language model (...ForCausalLM).")


def _check_weights(name: str, path: Path) -> None:
    index = path / "model.safetensors.index.json"
    if index.is_file():
        listed = _read_object(name, index).get("weight_map")
        shards = {str(file) for file in listed.values()} if isinstance(listed, dict) else set()
        if missing := sorted(shard for shard in shards if not (path / shard).is_file()):
            raise UsageError(f"{name}: {path} lacks {missing[0]}, which its index of weights names.")
    if any(path.glob("*.safetensors")):
        return
    if pickled := sorted(file.name for pattern in PICKLED for file in path.glob(pattern)):
        raise UsageError(
            f"{name}: {path} has pickled weights only ({pickled[0]}), which can run code when they are loaded; convert "
            "them to safetensors."
        )
    raise UsageError(f"{name}: {path} has no weights (*.safetensors).")


def _has_template(name: str, path: Path) -> bool:
    settings = path / "tokenizer_config.json"
    return any((path / file).exists() for file in TEMPLATES) or (
        settings.is_file() and bool(_read_object(name, settings).get("chat_template"))
    )


def check_args(name: str, args: Mapping[str, str], known: Sequence[str]) -> None:
    """Raises UsageError for an argument that the backend does not know."""
    if unknown := sorted(set(args) - set(known)):
        raise UsageError(f"--model-arg {unknown[0]} is unknown to {name}; it knows {', '.join(known)}.")


def whole_number(args: Mapping[str, str], key: str, default: int) -> int:
    """A positive whole number. Raises UsageError for anything else."""
    text = args.get(key, str(default))
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise UsageError(f"--model-arg {key}={text!r} is not a whole number of at least 1.")
    return int(text)


def missing(packages: Sequence[str], extra: str) -> str | None:
    """None where all packages are installed, else one sentence with the command that installs them."""
    absent = [package for package in packages if find_spec(package) is None]
    return f"{' and '.join(absent)} not installed: pip install 'tool-harness[{extra}]'" if absent else None


def require(name: str, packages: Sequence[str], extra: str) -> None:
    """Raises UsageError where a package is not installed."""
    if sentence := missing(packages, extra):
        raise UsageError(f"{name}: {sentence}")


def prepare_environment() -> None:
    """To be called before torch or transformers are imported."""
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)


# --- identity ----------------------------------------------------------------------------------------------------


def folder_digest(path: Path) -> str:
    """SHA-256 over names and contents of the files that decide what the model says; cached while they do not change."""
    files = sorted({file for pattern in IDENTITY for file in path.glob(pattern) if file.is_file()})
    stamps = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return _digest(str(path), tuple(stamps))


@cache
def _digest(folder: str, stamps: tuple[tuple[str, int, int], ...]) -> str:
    total = hashlib.sha256()
    for name, size, _ in stamps:
        total.update(f"{Path(name).relative_to(folder)}\0{size}\0".encode())
        with Path(name).open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


# --- tokenizer and format ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Local:
    """A checked directory with its tokenizer, its prompter, and the tokens that end a turn."""

    folder: Folder
    tokenizer: Any
    prompter: Prompter
    format: formats.Format
    ends: tuple[int, ...]

    def encode(self, text: str) -> list[int]:
        """Token ids; templates write their own first token, so none is added."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids with special tokens in it, because some formats are written with them."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def identity(self, **more: object) -> dict[str, Any]:
        """What decides the replies, wherever the directory lies."""
        template = hashlib.sha256(self.prompter.template.encode()).hexdigest()[:16]
        return {
            "sha256": folder_digest(self.folder.path),
            "template": template,
            "format": self.format.name,
            **more,
        }


def open_local(folder: Folder, args: Mapping[str, str]) -> Local:
    """Loads the tokenizer; needs transformers, not torch. Raises UsageError where it cannot be."""
    prepare_environment()
    transformers = quietly_imported("transformers")
    _check_remote_code(folder)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            str(folder.path), local_files_only=True, trust_remote_code=False
        )
        template = folder.template or tokenizer.get_chat_template(tools=[])
    except Exception as error:
        # Whatever is wrong with these files, transformers has dozens of exceptions for it.
        raise UsageError(f"{folder.name}: its tokenizer cannot be loaded: {first_line(error)}.") from None
    chosen = formats.choose(template, args.get("format"))
    prompter = Prompter(folder.name, template, renderer(tokenizer, template), chosen)
    _check_template(prompter)
    return Local(folder, tokenizer, prompter, chosen, turn_ends(folder, tokenizer, template))


def _check_template(prompter: Prompter) -> None:
    """Raises UsageError for a template that is none. What it refuses of a conversation is seen when it is rendered."""
    errors = importlib.import_module("jinja2.exceptions")
    try:
        prompter.render([{"role": "user", "content": "?"}], None, {})
    except errors.TemplateSyntaxError as error:
        raise UsageError(
            f"{prompter.name}: its chat template has an error in line {error.lineno}: {error.message}."
        ) from None
    except Exception:
        return


def renderer(tokenizer: Any, template: str, opens: bool = True) -> Render:
    """A chat template as a function; `opens`: with the words that begin the next turn."""

    def render(messages: list[JSONObject], tools: list[JSONObject] | None, options: JSONObject) -> str:
        text: str = tokenizer.apply_chat_template(
            messages, tools=tools, chat_template=template, add_generation_prompt=opens, tokenize=False, **options
        )
        return text

    return render


def _check_remote_code(folder: Folder) -> None:
    """Architectures that transformers does not have itself would need the code that came with the model."""
    known = importlib.import_module("transformers.models.auto.configuration_auto").CONFIG_MAPPING_NAMES
    kind = folder.config.get("model_type")
    if kind in known:
        return
    if folder.config.get("auto_map"):
        raise UsageError(f"{folder.name} needs code that came with it ({kind}); code of models is never run.")
    raise UsageError(f"{folder.name}: the installed transformers does not know the architecture {kind!r}.")


def turn_ends(folder: Folder, tokenizer: Any, template: str) -> tuple[int, ...]:
    """Every token that ends a turn: by the generation configuration, the tokenizer, and the template's own markers."""
    path = folder.path / "generation_config.json"
    configured = [_read_object(folder.name, path).get("eos_token_id")] if path.is_file() else []
    configured += [folder.config.get("eos_token_id"), tokenizer.eos_token_id]
    flat = [one for value in configured for one in (value if isinstance(value, list) else [value])]
    vocabulary = tokenizer.get_vocab()
    marked = [vocabulary[token] for token in TURN_ENDS if token in template and token in vocabulary]
    return tuple(sorted({one for one in [*flat, *marked] if isinstance(one, int)}))


def quietly_imported(package: str) -> Any:
    """A heavy package, with its own chatter about missing parts kept to errors."""
    module = importlib.import_module(package)
    logging.getLogger(package).setLevel(logging.ERROR)
    return module


def first_line(error: BaseException) -> str:
    """An error of a library, as part of a sentence."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')[:300]}" if lines else type(error).__name__


# --- one turn ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt to continue: its token ids, how many new tokens it may have, and how they are drawn."""

    request: ModelRequest
    prompt: Prompt
    ids: tuple[int, ...]
    room: int

    @property
    def seed(self) -> int:
        """For this turn of this episode alone, so that what is drawn does not depend on who is in the batch."""
        request = self.request
        return int(jsonio.digest([request.sampling.seed or 0, request.sample.id, request.epoch, request.turn])[:8], 16)


def to_row(local: Local, request: ModelRequest) -> Row | ModelFailure:
    """A request as token ids. A prompt that leaves no room in the model's context is a token limit."""
    try:
        prompt = local.prompter.prompt(request)
    except ModelFailure as failure:
        return failure
    ids, context = local.encode(prompt.text), local.folder.context
    room = request.sampling.max_tokens if context is None else min(request.sampling.max_tokens, context - len(ids))
    if room < 1:
        text = f"the prompt has {len(ids)} tokens, and the model's context {context}"
        return ModelFailure(f"{local.folder.name}: {text}", outcome="token_limit", stop=OUT_OF_CONTEXT)
    return Row(request, prompt, tuple(ids), room)


def to_reply(local: Local, row: Row, generated: Sequence[int]) -> Reply:
    """New token ids, also with padding behind their end, as a reply. A row that never ended was cut: "length"."""
    ids, text, finished = cut(local, generated[: row.room])
    message = local.format.parse(text, turn=row.request.turn, thinking=row.prompt.thinking)
    usage = Usage(len(row.ids), len(ids), reasoning_tokens(local, message), requests=1)
    return Reply(replace(message, raw=text), usage, "stop" if finished else "length")


def cut(local: Local, ids: Sequence[int]) -> tuple[Sequence[int], str, bool]:
    """The tokens that count, their text up to the end of the turn, and whether there was an end.

    The token that ends a turn counts but is no text. A stop string of the format is no text either, and the tokens
    that spell it count.
    """
    end = next((place for place, token in enumerate(ids) if token in local.ends), None)
    kept = ids if end is None else ids[: end + 1]
    text = local.decode(ids if end is None else ids[:end])
    stops = [place for stop in local.format.stop if (place := text.find(stop)) >= 0]
    if not stops:
        return kept, text, end is not None
    short = text[: min(stops)]
    needed = bisect.bisect_left(range(len(kept)), True, key=lambda n: has_stop(local, kept[:n]))
    return kept[:needed], short, True


def has_stop(local: Local, ids: Sequence[int]) -> bool:
    """Whether a stop string of the format is in the text of some tokens."""
    text = local.decode(ids)
    return any(stop in text for stop in local.format.stop)


def reasoning_tokens(local: Local, message: Message) -> int:
    return len(local.encode(message.reasoning)) if message.reasoning else 0


def closed(rows: Sequence[Row]) -> list[list[int]]:
    """What continues rows after a model was closed."""
    raise ModelFailure("the model was closed", outcome="infrastructure_error", stop="closed")


def width_of(options: ModelOptions) -> int:
    """Episodes played at once: --model-arg batch_size, else --concurrency."""
    return whole_number(options.args, "batch_size", max(1, options.concurrency))
