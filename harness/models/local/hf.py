"""hf/PATH: a model in a local directory, generated here by transformers, many episodes in one batch.

    harness eval --model hf/PATH --tasks 'micro_*' --concurrency 64

Two parts: the model, which turns requests into rows and rows into replies, and the network behind it, which is loaded
at the first request. Rows are sorted by length and padded on the left. When memory runs out, what was kept of
earlier turns is let go, and then the batch is halved for the rest of the run; the rows are generated again.

Decoding is greedy at temperature 0. Above it, each row draws by a seed of its own, that of its episode and
turn: what a sample is answered does not depend on which others are in the batch. Penalties and top-k/top-p of the
model's own generation configuration are not applied, so that every backend decodes by the same rule.

What was read of an episode is kept for its next turn (harness/models/local/kv_cache.py).

Left out: several devices (use vllm/), a cap on reasoning tokens.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.batching import UNFINISHED, BatchModel, Unfinished
from harness.errors import ModelFailure, UsageError
from harness.models import ModelOptions
from harness.models.local import call_gate
from harness.models.local.adapter import add_adapter
from harness.models.local.decoding import GumbelNoise, RowStoppingCriteria
from harness.models.local.folder import GGUF, ModelFolder, check_folder
from harness.models.local.options import batch_width, check_args
from harness.models.local.packages import (
    check_packages,
    find_missing_packages,
    first_line,
    import_quietly,
    set_library_defaults,
)
from harness.models.local.rows import PromptRow, refuse_after_close, resume_row, to_reply, to_row
from harness.models.local.tokenizer import ModelTokenizer, has_stop_string, open_tokenizer
from harness.types import SAMPLING_OPTIONS, JSONObject, Model, ModelRequest, Reasoning, Reply, Usage

if TYPE_CHECKING:
    from harness.models.local.kv_cache import PrefixCache

log = logging.getLogger(__name__)

HELP = "hf/PATH generates with transformers from a local directory (safetensors), a LoRA adapter, or one GGUF file"
ARGS = ("base", "batch_size", "chat_template", "device", "dtype", "format", *call_gate.ARGS)
PACKAGES = ("torch", "transformers", "safetensors")
DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)

Generate = Callable[..., list[list[int]]]
"""Continues rows together: new token ids a row, in the same order; what follows a row's end is padding. One that can
stop when half of them are done takes `pauses`."""


def ready(environ: Mapping[str, str]) -> str | None:
    """None when this backend can run here, else one sentence with the command that mends it."""
    return find_missing_packages(PACKAGES, "local")


def load(name: str, options: ModelOptions) -> Model:
    """The model of the directory or GGUF file `name`; see `load_directory`."""
    return load_directory(f"hf/{name}", name, options)


def load_directory(name: str, path: str, options: ModelOptions) -> HFModel:
    """A model called `name`, from a directory. Its weights are read at the first request.

    Raises UsageError for whatever is missing in the directory, arguments, and packages that are not installed.
    """
    check_args(name, options.args, ARGS)
    width = batch_width(options)
    dtype, device = options.args.get("dtype", "auto"), options.args.get("device", "auto")
    if dtype not in DTYPES:
        raise UsageError(f"--model-arg dtype={dtype!r} is none of {', '.join(DTYPES)}.")
    if not DEVICE.fullmatch(device):
        raise UsageError(f"--model-arg device={device!r} is none of auto, cpu, cuda, cuda:N.")
    folder = check_folder(name, Path(path), options.args)
    check_packages(name, PACKAGES, "local")
    local = open_tokenizer(folder, options.args)
    return play_folder(local, width, dtype, device, call_gate.read_gate(local, options.args))


def play_folder(
    local: ModelTokenizer,
    width: int,
    dtype: str = "auto",
    device: str = "auto",
    gate: call_gate.CallGate | None = None,
) -> HFModel:
    """The model of a directory whose tokenizer and template are there already, called as the directory is."""
    dtype, device = resolve_device(local.folder.name, dtype, device)
    settings: dict[str, object] = {"dtype": dtype, "device": device.partition(":")[0]}
    load = functools.cache(functools.partial(load_weights, local, dtype, device))
    generate = make_generate(local, load, width)
    if gate is None:
        return HFModel(local.folder.name, local, width, settings, generate, pauses=True)
    return HFModel(local.folder.name, local, width, settings | gate.identity, generate, gate.at(local, load))


def resolve_device(name: str, dtype: str, device: str) -> tuple[str, str]:
    """The dtype and device that `auto` means here: the first GPU in the weights' own dtype, else the CPU in float32."""
    set_library_defaults()
    import torch

    found = torch.cuda.is_available()
    if device == "auto":
        device = "cuda" if found else "cpu"
    if device != "cpu" and not found:
        raise UsageError(f"{name}: there is no CUDA device for --model-arg device={device}.")
    return ("float32" if dtype == "auto" and device == "cpu" else dtype), device


# --- the model ---------------------------------------------------------------------------------------------------


class HFModel(BatchModel):
    """A network that answers up to `width` requests together."""

    patience = 0.1

    def __init__(
        self,
        name: str,
        local: ModelTokenizer,
        width: int,
        settings: Mapping[str, object],
        generate: Generate,
        gate: call_gate.NetworkGate | None = None,
        pauses: bool = False,
    ) -> None:
        self.name = name
        self.width = width
        self.fingerprint: Mapping[str, Any] = {"backend": "hf", **local.identity(**settings)}
        self.sampling_options = SAMPLING_OPTIONS
        self.prompter = local.prompter
        self._local = local
        self._generate = generate
        self._gate = gate
        self._size = width
        self._pauses = pauses
        self._paused: dict[tuple[str, str, int, int], PromptRow] = {}

    @property
    def local(self) -> ModelTokenizer:
        """Its directory, tokenizer and template."""
        return self._local

    def check_reasoning(self, reasoning: Reasoning) -> None:
        """Raises UsageError where a gate was made of other prompts."""
        if self._gate is not None:
            self._gate.check_reasoning(reasoning)

    def switch(self, reasoning: Reasoning) -> JSONObject:
        """What the chat template is told. Raises UsageError where it has no such switch."""
        return self.prompter.switch(reasoning)

    def batch(self, requests: Sequence[ModelRequest]) -> list[Reply | ModelFailure]:
        """One answer a request, in the same order. Raises UsageError where the weights cannot be loaded."""
        return [answer for answer in self._answer_all(requests, False) if not isinstance(answer, Unfinished)]

    def advance(self, requests: Sequence[ModelRequest]) -> list[Reply | ModelFailure | Unfinished]:
        """The same, as soon as half of them have their answers."""
        return self._answer_all(requests, self._pauses)

    def _answer_all(self, requests: Sequence[ModelRequest], pauses: bool) -> list[Reply | ModelFailure | Unfinished]:
        asked = set(map(_reply_key, requests))
        self._paused = {key: row for key, row in self._paused.items() if key in asked}  # the others were given up
        answers: list[Reply | ModelFailure | Unfinished | PromptRow] = [self._to_row(request) for request in requests]
        places = [place for place, row in enumerate(answers) if isinstance(row, PromptRow)]
        # Longest first: where memory runs out at all, it runs out at once.
        places.sort(key=lambda place: len(answers[place].ids), reverse=True)  # type: ignore[union-attr]
        while places:
            size = min(self._size, len(places))
            rows = [row for place in places[:size] if isinstance(row := answers[place], PromptRow)]
            results = self._together(rows, pauses)
            if results is not None:
                for place, result in zip(places[:size], results, strict=True):
                    answers[place] = result
                places = places[size:]
        return [answer for answer in answers if not isinstance(answer, PromptRow)]

    def close(self) -> None:
        """Lets go of the weights."""
        self._generate, self._gate = refuse_after_close, None
        self._paused.clear()
        gc.collect()

    def _to_row(self, request: ModelRequest) -> PromptRow | ModelFailure:
        """A request as token ids, and as a gate decides; one that it has no memory for is a failure."""
        row = to_row(self._local, request)
        if isinstance(row, ModelFailure):
            return row
        begun = self._paused.pop(_reply_key(request), None)
        # Of an episode that is played again, the tools may have said something else.
        if (
            begun is not None
            and begun.ids[: -len(begun.begun)] == row.ids
            and begun.request.sampling == request.sampling
        ):
            return begun
        if self._gate is None:
            return row
        try:
            return self._gate.decide(row)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            trouble = first_line(error)
        release_memory()
        return self._fail_without_memory(row, trouble)

    def _together(self, rows: Sequence[PromptRow], pauses: bool) -> Sequence[Reply | ModelFailure | Unfinished] | None:
        """Answers of rows that are generated together; None: memory ran out, and the next try takes fewer."""
        try:
            return self._answer(rows, pauses)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            trouble = first_line(error)
        # Outside of the handler: until it ends, the error's frames hold the tensors that are to be freed.
        release_memory()
        if len(rows) == 1:
            return [self._fail_without_memory(rows[0], trouble)]
        self._size = len(rows) // 2
        log.warning("%s: out of memory with %d rows; from now on %d at once", self.name, len(rows), self._size)
        return None

    def _answer(self, rows: Sequence[PromptRow], pauses: bool) -> list[Reply | Unfinished]:
        """Answers of rows; some are written twice, where a gate decides behind their reasoning."""
        generated = self._generate(rows, pauses=True) if pauses else self._generate(rows)
        if self._gate is not None:
            rows = [self._gate.revise(row, ids) for row, ids in zip(rows, generated, strict=True)]
            if anew := [place for place, row in enumerate(rows) if row.anew]:
                for place, ids in zip(anew, self._generate([rows[place] for place in anew]), strict=True):
                    generated[place] = ids
        return [self._finish(row, ids, pauses) for row, ids in zip(rows, generated, strict=True)]

    def _finish(self, row: PromptRow, ids: Sequence[int], pauses: bool) -> Reply | Unfinished:
        """The reply; or what there is of it is kept until it is asked for again."""
        if pauses and not is_done(self._local, row, ids):
            self._paused[_reply_key(row.request)] = resume_row(row, ids)
            return UNFINISHED
        return to_reply(self._local, row, ids)

    def _fail_without_memory(self, row: PromptRow, trouble: str) -> ModelFailure:
        text = f"{self.name}: out of memory for a single prompt of {len(row.ids)} tokens: {trouble}"
        return ModelFailure(text, outcome="infrastructure_error", stop="out_of_memory", usage=Usage(requests=1))


def _reply_key(request: ModelRequest) -> tuple[str, str, int, int]:
    return request.task, request.sample.id, request.epoch, request.turn


def is_out_of_memory(error: Exception) -> bool:
    """torch has an exception of its own for GPUs, and a RuntimeError by its text for the CPU."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and OUT_OF_MEMORY.search(str(error)) is not None
    )


def release_memory() -> None:
    """Gives cached memory back to the device; on a CPU, what glibc keeps between tensors of changing length."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    with suppress(OSError, AttributeError, TypeError):  # where there is no glibc
        ctypes.CDLL(None).malloc_trim(0)


# --- the network -------------------------------------------------------------------------------------------------


def make_generate(local: ModelTokenizer, load: Callable[[], Any], width: int) -> Generate:
    """What generates, with the network that `load` gives at the first use; it keeps what it has read of `width`
    episodes."""
    from harness.models.local import kv_cache  # it imports torch, which the base install lacks

    kept: list[PrefixCache] = []

    def generate(rows: Sequence[PromptRow], pauses: bool = False) -> list[list[int]]:
        model = load()
        if not kept:
            kept.append(kv_cache.PrefixCache(width if kv_cache.has_token_cache(model) else 0))
        (memory,) = kept
        try:
            return generate_rows(model, local, rows, memory, pauses)
        except Exception as error:
            if not memory.capacity or not is_out_of_memory(error):
                raise
        log.warning("%s: out of memory; what was kept of earlier turns is let go", local.folder.name)
        memory.clear()
        release_memory()
        return generate_rows(model, local, rows, memory, pauses)

    return generate


def load_weights(local: ModelTokenizer, dtype: str, device: str) -> Any:
    """The network, ready to generate. Raises UsageError where the weights cannot be read."""
    set_library_defaults()
    import torch

    transformers = import_quietly("transformers")
    if local.folder.path.suffix == GGUF:  # which has a progress bar of its own
        import_quietly("transformers.modeling_gguf_pytorch_utils").tqdm = lambda tensors, **more: tensors
    model, found = _read_network(local.folder, dtype=dtype if dtype == "auto" else getattr(torch, dtype))
    check_fit(local.folder.name, found)
    if local.folder.path.suffix == GGUF:
        forget_quantisation(model)
    for one in local.folder.adapters:
        add_adapter(model, local.folder.name, one)
    model = model.to(device)
    padding = local.tokenizer.pad_token_id
    padding = padding if padding is not None else (local.end_token_ids[0] if local.end_token_ids else 0)
    # A fresh configuration: what the model brought (penalties, top-k) would change greedy decoding too.
    ends = list(local.end_token_ids) or None
    model.generation_config = transformers.GenerationConfig(eos_token_id=ends, pad_token_id=padding, do_sample=False)
    return model.eval()


def check_weights(folder: ModelFolder) -> None:
    """Raises UsageError where load_weights would, as far as the headers of safetensors tell; adapters are read."""
    if folder.path.suffix != GGUF:
        model, found = _read_network(folder, device_map="meta")
        check_fit(folder.name, {**found, "unexpected_keys": ()})  # of which load_weights warns
        for one in folder.adapters:
            add_adapter(model, folder.name, one)


def _read_network(folder: ModelFolder, **more: Any) -> tuple[Any, Mapping[str, Any]]:
    """The network and transformers' account of its loading. Raises UsageError where it cannot be read."""
    transformers = import_quietly("transformers")
    transformers.utils.logging.disable_progress_bar()
    try:
        model, found = transformers.AutoModelForCausalLM.from_pretrained(
            **folder.source,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # told by check_fit, in one sentence
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            **more,
        )
    except Exception as error:
        raise UsageError(f"{folder.name}: its weights cannot be loaded: {first_line(error)}.") from None
    return model, found


def forget_quantisation(model: Any) -> None:
    """Weights that were dequantised are as good as any; transformers still refuses to save or train them."""
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False


def check_fit(name: str, found: Mapping[str, Any]) -> None:
    """Raises UsageError where weights are missing or of another shape than config.json says: they would be random
    numbers. Weights that the configuration has no place for are a warning, because some are only of use in training.

    `found` is transformers' own account of the loading; tied weights are not in it.
    """
    for key, said in (("missing_keys", "is missing"), ("mismatched_keys", "has another shape")):
        if names := sorted(one if isinstance(one, str) else str(one[0]) for one in found[key]):
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise UsageError(f"{name}: its weights do not fit its config.json: {names[0]} {said}{more}.")
    if names := sorted(found["unexpected_keys"]):
        log.warning("%s: its config.json has no place for %d of its weights, such as %s", name, len(names), names[0])


def generate_rows(
    model: Any,
    local: ModelTokenizer,
    rows: Sequence[PromptRow],
    memory: PrefixCache | None = None,
    pauses: bool = False,
) -> list[list[int]]:
    """New tokens of each row, generated together with left padding; `memory` is what is known of their episodes.

    Whenever half of the rows are done, they leave the batch and the others go on with their cache: one reply that runs
    to its limit would otherwise cost as much as if all did. With `pauses` the others stop there too, where `memory`
    keeps what was read of them, so that who asks can let more rows join them (is_done tells which, resume_row how).
    """
    import torch

    from harness.models.local import attention, kv_cache

    longest = max(len(row.ids) for row in rows)
    padding = model.generation_config.pad_token_id
    ids = torch.tensor([[padding] * (longest - len(row.ids)) + list(row.ids) for row in rows], device=model.device)
    mask = torch.tensor([[0] * (longest - len(row.ids)) + [1] * len(row.ids) for row in rows], device=model.device)
    live, generated = list(range(len(rows))), [list[int]() for _ in rows]
    noise, ban = GumbelNoise(rows), call_gate.CallBan(local, rows)
    memory = memory or kv_cache.PrefixCache(0)
    taken_as = kv_cache.cache_argument(model)
    # Autocast keeps what it has cast only outside of inference mode: inside, every weight is cast for every token.
    quiet = torch.no_grad() if torch.is_autocast_enabled(model.device.type) else torch.inference_mode()
    with quiet, attention.decoding_attention(model):
        cache = kv_cache.prefill_cache(model, rows, memory)
        pauses = pauses and cache is not None and memory.capacity > 0
        while live:
            stop = RowStoppingCriteria(local, [rows[place] for place in live], longest, cache is not None)
            output = model.generate(
                input_ids=ids,
                attention_mask=mask,
                **{taken_as: cache},
                max_new_tokens=max(rows[place].max_new_tokens for place in live) - (ids.shape[1] - longest),
                use_cache=True,
                logits_processor=[one for one in (noise, ban) if one.any],
                stopping_criteria=[stop],
                return_dict_in_generate=True,
            )
            left = []
            for index, (place, new) in enumerate(zip(live, output.sequences[:, longest:].tolist(), strict=True)):
                generated[place] = new
                if not is_done(local, rows[place], new):
                    left.append(index)
                elif cache is not None and not pauses:
                    memory.store(rows[place], new, cache, index, longest - len(rows[place].ids))
            if cache is not None and pauses:
                memory.take_over(rows, generated, cache, [longest - len(row.ids) for row in rows])
            if cache is None or not left or pauses:
                break
            chosen = torch.tensor(left, device=model.device)
            cache.batch_select_indices(chosen)
            noise.select(left)
            ban.select(left)
            live, ids = [live[index] for index in left], output.sequences[chosen]
            mask = torch.cat([mask[chosen], mask.new_ones(len(left), ids.shape[1] - mask.shape[1])], dim=1)
    return generated


def is_done(local: ModelTokenizer, row: PromptRow, new: Sequence[int]) -> bool:
    """Whether a row has its limit, an end of the turn, or a stop string of the format."""
    ended = len(new) >= row.max_new_tokens or any(end in new for end in local.end_token_ids)
    return ended or has_stop_string(local, [*row.begun, *new])
