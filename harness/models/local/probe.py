"""What a network holds at the end of a prompt, layer by layer, and a linear probe of one layer as a file.

Layer 0 is the embedding of the prompt's last token; the last layer is what the network's head reads, after its norm.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data import disk, jsonio
from harness.errors import UsageError

Array = NDArray[np.float64]
SCHEMA = 1
VECTORS = ("mean", "scale", "weights")
PLACES = ("prompt", "reasoning")
"""Behind what the last hidden state is read: the prompt, or the reasoning that a reply begins with."""


def read_last_states(network: Any, ids: Sequence[int]) -> Array:
    """The hidden state at the last of some tokens, in every layer: of shape (layers + 1, size).

    One prompt at a time: no padding, so that what is read does not depend on which others are read.
    """
    import torch

    tokens = torch.tensor([list(ids)], device=network.device)
    with torch.inference_mode():
        said = network.base_model(input_ids=tokens, use_cache=False, output_hidden_states=True)
        states = torch.stack([state[0, -1] for state in said.hidden_states])
    found: Array = states.double().cpu().numpy()
    return found


@dataclass(frozen=True, slots=True)
class Probe:
    """A linear probe: `weights` and `bias` on the state of `layer`, less its `mean`, in units of `scale`. Scores above
    0 say yes. `fingerprint` and `reasoning`: of the model it reads, and as what its prompts said. `after`: where it
    reads, one of PLACES.

    `high` and `low`: above the one, and below the other, it was seldom wrong (None: it was nowhere seldom wrong).
    """

    layer: int
    mean: Sequence[float]
    scale: Sequence[float]
    weights: Sequence[float]
    bias: float
    fingerprint: Mapping[str, Any]
    reasoning: str = "default"
    low: float | None = None
    high: float | None = None
    after: str = "prompt"

    def score(self, states: Array) -> float:
        """The score of what `read_last_states` gave."""
        mean, scale, weights = (np.array(getattr(self, name), dtype=float) for name in VECTORS)
        with np.errstate(all="ignore"):  # what is no number is the caller's to refuse
            return float((states[self.layer] - mean) / scale @ weights + self.bias)

    def write(self, path: Path, about: Mapping[str, Any]) -> None:
        """Writes the probe, the whole file or none; `about` says how it was made, for a reader."""
        jsonio.write_json(path, {"schema": SCHEMA, **about, **asdict(self)})


def read_probe(path: Path) -> tuple[Probe, str]:
    """The probe in a file, and the digest of the very bytes that it was read from. Raises UsageError for a file that is
    none."""
    try:
        content = disk.read_file(path, links=True)
        found = jsonio.parse_json(content)
    except (OSError, ValueError) as error:
        raise UsageError(f"The probe {path} cannot be read: {error}.") from None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA or not _is_probe(found):
        raise UsageError(f"{path} is no probe, as `harness probe` writes one.")
    probe = Probe(**{name: found[name] for name in Probe.__slots__ if name in found})
    return probe, hashlib.sha256(content).hexdigest()[:16]


def _is_probe(found: Mapping[str, Any]) -> bool:
    layer, vectors = found.get("layer"), [found.get(name) for name in VECTORS]
    lengths = {len(one) for one in vectors if isinstance(one, list) and all(map(jsonio.is_number, one))}
    return (
        type(layer) is int  # and not True, which numpy takes for a mask
        and layer >= 0
        and all(isinstance(one, list) for one in vectors)
        and len(lengths) == 1
        and all(found["scale"])
        and jsonio.is_number(found.get("bias"))
        and isinstance(found.get("fingerprint"), dict)
        and isinstance(found.get("reasoning", ""), str)
        and found.get("after", "prompt") in PLACES
        and all(found.get(name) is None or jsonio.is_number(found[name]) for name in ("low", "high"))
    )
