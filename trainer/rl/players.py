"""Who plays while a network trains: itself, a whole copy of one that is in shards, or vLLM with its weights.

A player takes the weights as they are when all processes are there (`sync`); after that every process may ask as often
and as much as it likes, which a network in shards cannot bear. vLLM is the one that TRL keeps: its `vllm_generation`
starts the engine in each process, or reaches the server, and gives it the weights. What is asked here of it and not
through TRL's `generate` is a seed and a limit of its own for every row.

Left out: several GPUs for one colocated engine, sleeping engines, images.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Protocol

from harness.errors import HarnessError
from harness.models.local.packages import first_line
from harness.models.local.rows import PromptRow
from harness.models.local.tokenizer import ModelTokenizer
from harness.models.local.vllm import decoding
from trainer.distributed import asks_for_shards
from trainer.rl.actor import Continuation, Continue, NetworkGenerator
from trainer.rl.settings import RLRecipe
from trainer.rl.validation import EPISODE_BATCH_SIZE

REQUESTS_AT_ONCE = 64
"""Rows that a server is asked for at a time."""


class Player(Protocol):
    """Continues rows with the network as it is."""

    identity: Mapping[str, str]
    """What a run directory says of who played, beside the network."""

    def sync(self) -> None:
        """Takes the weights as they are now. All processes come here."""

    def generator(self, kept: int) -> AbstractContextManager[Continue]:
        """What continues rows until the block ends; what was read is kept for the next turns of `kept` episodes."""


def copy_for_play(network: Any, settings: RLRecipe) -> Any:
    """The whole network that plays beside shards; None where none is needed. Before TRL has the network: what it puts
    into it goes on speaking for the original."""
    return copy.deepcopy(network) if asks_for_shards(os.environ) and settings.vllm == "off" else None


def make_player(trainer: Any, local: ModelTokenizer, whole: Any) -> Player:
    """The player that a run was asked for; `trainer` is TRL's, before it begins, `whole` from copy_for_play."""
    if trainer.use_vllm:
        return Engine(trainer, local)
    return Network(trainer, local) if whole is None else WholeCopy(trainer, local, whole)


# --- the network -------------------------------------------------------------------------------------------------


class Network:
    """The network in training itself."""

    identity: Mapping[str, str] = {}

    def __init__(self, trainer: Any, local: ModelTokenizer) -> None:
        self._trainer = trainer
        self._local = local

    def sync(self) -> None:
        """Nothing is to be done: the weights are its own."""

    @contextmanager
    def generator(self, kept: int) -> Iterator[Continue]:
        network = self._trainer.accelerator.unwrap_model(self._trainer.model_wrapped)
        training = network.training
        network.eval()
        try:
            yield make_generator(self._local, network, self._trainer, kept)
        finally:
            network.train(training)


class WholeCopy:
    """A whole network beside one in shards (FSDP 2), which has its weights: as many bytes more on every process."""

    identity: Mapping[str, str] = {}

    def __init__(self, trainer: Any, local: ModelTokenizer, whole: Any) -> None:
        self._trainer = trainer
        self._local = local
        self._network = whole.eval().requires_grad_(False)
        self._step = -1

    def sync(self) -> None:
        """Once a step."""
        if self._step == self._trainer.state.global_step:
            return
        mine = dict(self._network.named_parameters())
        for name, value in gather_weights(self._trainer.model_wrapped, self._trainer.accelerator.device):
            mine[name].copy_(value)
        self._step = self._trainer.state.global_step

    @contextmanager
    def generator(self, kept: int) -> Iterator[Continue]:
        yield make_generator(self._local, self._network, self._trainer, kept)


def gather_weights(network: Any, device: Any) -> Iterator[tuple[str, Any]]:
    """The whole weights of a network in shards, one after the other, to all processes, which must all go on to the
    end."""
    for name, value in network.named_parameters():
        part = value.detach().to(device)
        yield name, part.full_tensor() if hasattr(part, "full_tensor") else part


def make_generator(local: ModelTokenizer, network: Any, trainer: Any, kept: int) -> NetworkGenerator:
    """What continues rows with a network that every process has whole."""
    return NetworkGenerator(local, network, trainer.setup.settings.dtype, EPISODE_BATCH_SIZE, kept)


# --- vLLM --------------------------------------------------------------------------------------------------------


class Engine:
    """vLLM as TRL keeps it, in each process or behind an address, with the weights of the network."""

    identity: Mapping[str, str] = {"engine": "vllm"}

    def __init__(self, trainer: Any, local: ModelTokenizer) -> None:
        self._trainer = trainer
        generation = trainer.vllm_generation
        if generation.mode == "colocate":
            self._complete = partial(complete_here, generation.llm, local)
        else:
            client = generation.vllm_client if trainer.accelerator.is_main_process else open_client(generation)
            self._complete = partial(ask_server, client, local)

    def sync(self) -> None:
        """TRL syncs before a rollout, once a step; what comes before that is not to sync it again."""
        trainer = self._trainer
        if trainer._last_loaded_step != trainer.state.global_step:
            with as_one_sentence():
                trainer.vllm_generation.sync_weights()
            trainer._last_loaded_step = trainer.state.global_step
        trainer.accelerator.wait_for_everyone()  # the leader alone sends a server its weights

    @contextmanager
    def generator(self, kept: int) -> Iterator[Continue]:
        """The engine keeps what it has read itself."""
        yield self._continue

    def _continue(self, rows: Sequence[PromptRow], pauses: bool = False) -> list[Continuation]:
        """All of them finish: the engine itself lets others in."""
        with as_one_sentence():
            return self._complete(rows) if rows else []


@contextmanager
def as_one_sentence() -> Iterator[None]:
    """What goes wrong with vLLM, in a sentence that says how to go on."""
    try:
        yield
    except Exception as error:
        raise HarnessError(
            f"vLLM failed: {first_line(error)}; go on from the last checkpoint with --resume."
        ) from error


def complete_here(llm: Any, local: ModelTokenizer, rows: Sequence[PromptRow]) -> list[Continuation]:
    """What an engine in this process says, with the log-probabilities that it drew by."""
    from trl.generation.vllm_generation import extract_logprobs

    prompts = [{"prompt_token_ids": list(row.ids)} for row in rows]
    said = llm.generate(prompts, sampling_params=[decoding(local, row, logprobs=0) for row in rows], use_tqdm=False)
    logprobs, _ = extract_logprobs(said)
    return [
        Continuation(list(one.outputs[0].token_ids), [drawn for (drawn,) in drawn_by])
        for one, drawn_by in zip(said, logprobs, strict=True)
    ]


def open_client(generation: Any) -> Any:
    """A process's own way to a server; TRL opens the leader's alone."""
    from trl.generation.vllm_client import VLLMClient

    return VLLMClient(base_url=generation.server_base_url, connection_timeout=generation.server_timeout)


def ask_server(client: Any, local: ModelTokenizer, rows: Sequence[PromptRow]) -> list[Continuation]:
    """What a server says to every row: a request each, because one request has one seed."""
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as threads:
        return list(threads.map(partial(ask_row, client, local), rows))


def ask_row(client: Any, local: ModelTokenizer, row: PromptRow) -> Continuation:
    """What a server says to one row."""
    sampling = row.request.sampling
    decides = {
        "seed": row.seed if sampling.temperature > 0 else None,
        "stop": list(local.format.stop),
        "stop_token_ids": list(local.end_token_ids),
        "skip_special_tokens": False,
    }
    said = client.generate(
        [list(row.ids)],
        temperature=sampling.temperature,
        max_tokens=row.max_new_tokens,
        logprobs=0,
        generation_kwargs=decides,
    )
    return Continuation(said["completion_ids"][0], [drawn for (drawn,) in said["logprobs"][0]])
