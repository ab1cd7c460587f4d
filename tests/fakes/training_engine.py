"""What TRL keeps of a vLLM server, made of a network on the CPU: VLLMGeneration and its client, by their signatures.

It samples as vLLM does, by a seed a request, and says with what log-probability; between two `sync_weights` it keeps
the weights that it had, whatever the training does to its own.
"""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from trl.generation.vllm_client import VLLMClient
from trl.generation.vllm_generation import VLLMGeneration


class Client:
    """VLLMClient.generate, of one prompt at a time."""

    def __init__(self, network: Any) -> None:
        self.network = copy.deepcopy(network).eval()
        self.asked: list[dict[str, Any]] = []

    def get_server_info(self) -> dict[str, Any]:
        return {"model_config": {"logprobs_mode": "processed_logprobs"}}

    def generate(self, *given: Any, **more: Any) -> dict[str, Any]:
        bound = inspect.signature(VLLMClient.generate).bind(self, *given, **more)
        bound.apply_defaults()
        asked = bound.arguments
        self.asked.append(asked)
        (prompt,) = asked["prompts"]
        assert asked["logprobs"] == 0
        ids, logprobs = self._draw(prompt, asked["temperature"], asked["max_tokens"], asked["generation_kwargs"])
        return {"prompt_ids": [prompt], "completion_ids": [ids], "logprobs": [[[one] for one in logprobs]]}

    def _draw(
        self, prompt: list[int], temperature: float, room: int, decides: dict[str, Any]
    ) -> tuple[list[int], list[float]]:
        draw = torch.Generator().manual_seed(decides["seed"] or 0)
        ids: list[int] = []
        logprobs: list[float] = []
        while len(ids) < room and not (ids and ids[-1] in decides["stop_token_ids"]):
            with torch.no_grad():
                logits = self.network(torch.tensor([prompt + ids])).logits[0, -1]
            known = (logits / (temperature or 1.0)).log_softmax(-1)
            token = int(torch.multinomial(known.exp(), 1, generator=draw) if temperature else known.argmax())
            ids.append(token)
            logprobs.append(float(known[token]))
        return ids, logprobs


class Generation:
    """VLLMGeneration in the mode `server`, as GRPOTrainer makes it."""

    last: Generation

    def __init__(self, *given: Any, **more: Any) -> None:
        bound = inspect.signature(VLLMGeneration.__init__).bind(self, *given, **more)
        bound.apply_defaults()
        self.mode = bound.arguments["mode"]
        self._network = bound.arguments["model"]
        self.vllm_client = Client(self._network)
        self.synced = 0
        Generation.last = self

    def sync_weights(self) -> None:
        self.vllm_client.network.load_state_dict(self._network.state_dict())
        self.synced += 1
