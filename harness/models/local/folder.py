"""A model in a directory: what is checked before anything is loaded, and its identity.

Shared by hf/, vllm/ and vllm-server/ with a directory. Only safetensors are read and no code that came with a model is
run: pickled weights and `auto_map` can both be programs. Nothing is fetched from a hub.

On hf/ a single GGUF file is read as well, with the tokenizer and template in it; its weights are dequantised. So is a
LoRA adapter, with its own tokenizer and template where it has them, else those of its model.

Left out: models with an image or audio encoder on hf/ (vLLM serves them).
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from harness.data import disk
from harness.errors import UsageError
from harness.models.local import adapter
from harness.models.local.adapter import read_object
from harness.models.local.packages import check_packages, first_line
from harness.types import JSONObject

GGUF, GGUF_END = ".gguf", "tokenizer.ggml.eos_token_id"

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")


TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tekken.json", "vocab.json", "vocab.txt")


TEMPLATES = ("chat_template.jinja", "chat_template.json", "additional_chat_templates")


CAUSAL = ("ForCausalLM", "LMHeadModel")


SERVED_ARCHITECTURES = (*CAUSAL, "ForConditionalGeneration")
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


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A directory that passed the checks. `name` is the model's full name; `template` what --model-arg gave, or None;
    `max_context` a context that was set shorter than the model's own; `adapters` what is added to its weights, in
    order, and `tokenizer_path` a directory with another tokenizer than that of `path`."""

    name: str
    path: Path
    config: JSONObject
    template: str | None = None
    max_context: int | None = None
    adapters: tuple[adapter.Adapter, ...] = ()
    tokenizer_path: Path | None = None

    @property
    def digest(self) -> str:
        """Of everything that decides what the model says; that of `path` alone where there are no adapters."""
        whole = folder_digest(self.path)
        added = [[one.settings, folder_digest(one.path)] for one in self.adapters]
        return hashlib.sha256(json.dumps([whole, added], sort_keys=True).encode()).hexdigest() if added else whole

    @property
    def tokenizer_source(self) -> dict[str, Any]:
        """Where transformers' from_pretrained finds the tokenizer."""
        if self.tokenizer_path is not None:
            return {"pretrained_model_name_or_path": str(self.tokenizer_path)}
        return self.source

    @property
    def source(self) -> dict[str, Any]:
        """Where transformers' from_pretrained finds it."""
        if self.path.suffix == GGUF:
            return {"pretrained_model_name_or_path": str(self.path.parent), "gguf_file": self.path.name}
        return {"pretrained_model_name_or_path": str(self.path)}

    @property
    def context(self) -> int | None:
        """Tokens that prompt and reply may have together, where anything says."""
        if self.max_context is not None:
            return self.max_context
        for config in (self.config, self.config.get("text_config")):
            for key in ("max_position_embeddings", "n_positions", "max_seq_len"):
                if isinstance(config, dict) and isinstance(length := config.get(key), int) and length > 0:
                    return length
        return None


def check_folder(name: str, path: Path, args: Mapping[str, str], kinds: Sequence[str] = CAUSAL) -> ModelFolder:
    """Reads names and small files only. Raises UsageError, one sentence each, for what is missing or not allowed."""
    if adapter.is_adapter(path):
        return _check_adapted(name, path, args, kinds)
    if "base" in args:
        raise UsageError(f"{name} is a whole model; --model-arg base is for LoRA adapters.")
    if path.is_file() and path.suffix == GGUF and kinds == CAUSAL:
        return _check_gguf(name, path, read_given_template(args))
    if path.is_file():
        served = ", or serve it with llama.cpp and name its --base-url" if path.suffix == ".gguf" else ""
        raise UsageError(f"{name}: {path} is a file; name the folder of config.json and *.safetensors{served}.")
    config = check_config(name, path, kinds)
    _check_weights(name, path)
    return check_tokenizer_files(name, path, config, read_given_template(args))


def _check_adapted(name: str, path: Path, args: Mapping[str, str], kinds: Sequence[str]) -> ModelFolder:
    """An adapter, or several on top of each other, and the whole model below. Tokenizer and template are the outermost
    ones that there are."""
    if kinds != CAUSAL:
        raise UsageError(f"{name}: {path} is a LoRA adapter, which hf/ plays; name a whole model, such as DIR/model.")
    base, adapters = adapter.list_adapters(name, path, args.get("base"))
    check_base(name, base, adapters)
    own = [one.path for one in reversed(adapters)]
    template = read_given_template(args)
    if template is None:
        template = next((text for one in own if (text := _template_text(name, one))), None)
    tokenizer = next((one for one in own if _has_tokenizer(one)), None)
    if base.is_file():
        folder = _check_gguf(name, base, template)
    else:
        config = check_config(name, base)
        _check_weights(name, base)
        folder = check_tokenizer_files(name, tokenizer or base, config, template or _template_text(name, base) or None)
    return replace(folder, path=base, adapters=adapters, tokenizer_path=tokenizer)


def check_base(name: str, base: Path, adapters: Sequence[adapter.Adapter]) -> None:
    """Raises UsageError where an adapter says that it was trained on another model than the one below."""
    for place, one in enumerate(adapters):
        below = ModelFolder(name, base, {}, adapters=tuple(adapters[:place]))
        if one.base_digest is not None and one.base_digest != below.digest:
            lies = adapters[place - 1].path if place else base
            raise UsageError(f"{name}: {one.path} was trained on another model than the one in {lies}.")


def _template_text(name: str, path: Path) -> str:
    """A directory's own chat template, where it is one text; "" where there is none."""
    file, settings = path / TEMPLATES[0], path / "tokenizer_config.json"
    if file.is_file():
        return _read_template(file)
    found = read_object(name, settings).get("chat_template") if settings.is_file() else None
    return found if isinstance(found, str) else ""


def check_config(name: str, path: Path, kinds: Sequence[str] = CAUSAL) -> JSONObject:
    """The config.json of a directory. Raises UsageError where there is none, and for architectures not of `kinds`."""
    if not path.is_dir():
        raise UsageError(
            f"{name}: there is no directory {path}. Nothing is fetched from a hub: download the model, name its folder."
        )
    if not (path / "config.json").is_file():
        raise UsageError(f"{name}: {path} has no config.json, so it is no model that transformers could load.")
    config = read_object(name, path / "config.json")
    _check_architecture(name, config, kinds)
    return config


def check_tokenizer_files(name: str, path: Path, config: JSONObject, template: str | None) -> ModelFolder:
    """A directory whose configuration was checked, with a template in place of its own where there is one.

    Raises UsageError where it has no tokenizer or no template."""
    if not _has_tokenizer(path):
        raise UsageError(f"{name}: {path} has no tokenizer (tokenizer.json or tokenizer.model).")
    if template is None and not _has_template(name, path):
        raise UsageError(
            f"{name}: {path} has no chat template; give one with --model-arg chat_template=FILE, with --model-arg "
            "format=react where it takes no tools."
        )
    return ModelFolder(name, path, config, template)


def read_given_template(args: Mapping[str, str]) -> str | None:
    """The template of --model-arg chat_template; None where none was given. Raises UsageError."""
    given = args.get("chat_template")
    return None if given is None else _read_template(Path(given))


def _has_tokenizer(path: Path) -> bool:
    return any((path / file).is_file() for file in TOKENIZERS)


def _check_gguf(name: str, path: Path, template: str | None) -> ModelFolder:
    """A file of weights, tokenizer and template in one; of its metadata, what config.json has of others."""
    check_packages(name, ("gguf",), "local")
    if adapter.is_adapter(path.parent):  # transformers would add it, unasked
        raise UsageError(f"{name}: {path} lies beside {adapter.CONFIG}; give the file a folder of its own.")
    gguf = importlib.import_module("gguf")
    try:
        fields = gguf.GGUFReader(path).fields
        said = {key: fields[key].contents() for key in fields if not key.startswith("tokenizer.ggml.")}
        said |= {key: fields[key].contents() for key in (GGUF_END,) if key in fields}
    except Exception as error:
        # Whatever is wrong with a file, gguf has no exceptions of its own for it.
        raise UsageError(f"{name}: {path} cannot be read as GGUF: {first_line(error)}.") from None
    if template is None and "tokenizer.chat_template" not in said:
        raise UsageError(f"{name}: {path} has no chat template; give one with --model-arg chat_template=FILE.")
    kind = said.get("general.architecture")
    config = {"model_type": kind, "max_position_embeddings": said.get(f"{kind}.context_length")}
    config["eos_token_id"] = said.get(GGUF_END)
    return ModelFolder(name, path, config, template)


def _read_template(path: Path) -> str:
    try:
        return disk.read_file(path, links=True).decode("utf-8")
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
        listed = read_object(name, index).get("weight_map")
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
        settings.is_file() and bool(read_object(name, settings).get("chat_template"))
    )


def digest_model(path: Path) -> str:
    """As ModelFolder.digest, of a directory, an adapter or a file that may not have been checked yet."""
    base, adapters = adapter.list_adapters(str(path), path)
    return ModelFolder(str(path), base, {}, adapters=adapters).digest


def folder_digest(path: Path) -> str:
    """SHA-256 over names and contents of the files that decide what the model says; cached while they do not change."""
    found = [path] if path.is_file() else (file for pattern in IDENTITY for file in path.glob(pattern))
    files = sorted({file for file in found if file.is_file()})
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


def _check_remote_code(folder: ModelFolder) -> None:
    """Architectures that transformers does not have itself would need the code that came with the model."""
    if folder.path.suffix == GGUF:
        return  # it holds no code; what transformers cannot read of it is told when it is loaded
    known = importlib.import_module("transformers.models.auto.configuration_auto").CONFIG_MAPPING_NAMES
    kind = folder.config.get("model_type")
    if kind in known:
        return
    if folder.config.get("auto_map"):
        raise UsageError(f"{folder.name} needs code that came with it ({kind}); code of models is never run.")
    raise UsageError(f"{folder.name}: the installed transformers does not know the architecture {kind!r}.")
