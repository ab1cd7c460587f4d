"""Reads weights where they lie: safetensors files, tensor by tensor and slice by slice, with numpy alone.

A model of many gigabytes is read in slices of a few megabytes, so memory does not grow with it. Neither torch nor
the safetensors package is needed: the format is a length (8 bytes, little-endian), a JSON header and raw numbers
(https://huggingface.co/docs/safetensors). numpy knows no bfloat16; such a number is the upper half of a float32.

What a folder holds is not trusted: lengths and offsets are checked before anything is read; shards must lie in it.
Left out: pickled weights, which are programs; eight-bit and quantised weights; models that are not downloaded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.data import disk, jsonio
from harness.errors import UsageError

SLICE = 1 << 20
"""Numbers read at a time."""
LONGEST_HEADER = 100_000_000
"""Bytes; what the safetensors format allows."""
DTYPES = {"BF16": "<u2", "F16": "<f2", "F32": "<f4", "F64": "<f8"}
INDEX, SINGLE, ADAPTER = "model.safetensors.index.json", "model.safetensors", "adapter_model.safetensors"
PICKLED = (".bin", ".pt", ".pth", ".ckpt")

Numbers = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor's numbers lie: `start` is the byte in the file; `dtype` a key of DTYPES."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def read(self, first: int = 0, count: int | None = None) -> Numbers:
        """`count` numbers from the `first` on, flat, row after row. Raises UsageError where the file has shrunk."""
        kind = np.dtype(DTYPES[self.dtype])
        count = self.size - first if count is None else count
        with self.file.open("rb") as file:
            file.seek(self.start + first * kind.itemsize)
            data = file.read(count * kind.itemsize)
        if len(data) != count * kind.itemsize:
            raise UsageError(f"{self.file} ends inside a tensor.")
        numbers = np.frombuffer(data, kind)
        if self.dtype == "BF16":
            return (numbers.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        return numbers.astype(np.float64)


@dataclass(frozen=True, slots=True)
class Weights:
    """The tensors of a model by name. `adapter` is the configuration of a LoRA adapter, or None for a whole model."""

    path: Path
    tensors: Mapping[str, StoredTensor]
    config: Mapping[str, Any] = field(default_factory=dict)
    adapter: Mapping[str, Any] | None = None


def open_weights(path: Path) -> Weights:
    """The weights of a folder or of one .safetensors file; only headers are read.

    Raises UsageError where there are none, and for what is no safetensors, is pickled or is quantised.
    """
    if path.is_file() and path.suffix == ".safetensors":
        return Weights(path, read_header(path))
    if not path.is_dir():
        raise UsageError(f"There is no folder of weights at {path}.")
    config = _json(path / "config.json") if (path / "config.json").exists() else {}
    if (path / ADAPTER).exists():
        if not (path / "adapter_config.json").exists():
            raise UsageError(f"{path} holds {ADAPTER} without the adapter_config.json that says how to scale it.")
        return Weights(path, read_header(path / ADAPTER), config, _json(path / "adapter_config.json"))
    if (path / INDEX).exists():
        return Weights(path, _sharded(path), config)
    files = [path / SINGLE] if (path / SINGLE).exists() else sorted(path.glob("*.safetensors"))
    if len(files) == 1:
        return Weights(path, read_header(files[0]), config)
    if files:
        raise UsageError(f"{path} holds {len(files)} .safetensors files but no {INDEX} that says what is in them.")
    if any(file.suffix in PICKLED for file in path.iterdir()):
        raise UsageError(f"{path} holds pickled weights, which run code when loaded: save them as safetensors first.")
    raise UsageError(f"{path} holds no .safetensors file.")


def _json(path: Path) -> dict[str, Any]:
    try:
        value = jsonio.read_json(path, links=True)
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise UsageError(f"{path} must be a JSON object.")
    return value


def _sharded(folder: Path) -> dict[str, StoredTensor]:
    """The tensors of all shards. Raises UsageError where the index names what no shard of the folder holds."""
    index = _json(folder / INDEX).get("weight_map")
    if not isinstance(index, dict) or not all(isinstance(file, str) for file in index.values()):
        raise UsageError(f"{folder / INDEX} has no weight_map of tensor names to files.")
    headers: dict[str, dict[str, StoredTensor]] = {}
    for file in sorted(set(index.values())):
        if Path(file).name != file or not (folder / file).is_file():
            raise UsageError(f"{folder / INDEX} names {file!r}, which is no file of that folder.")
        headers[file] = read_header(folder / file)
    for name, file in index.items():
        if name not in headers[file]:
            raise UsageError(f"{folder / file} has no tensor {name!r}, which {INDEX} says it has.")
    return {name: headers[file][name] for name, file in index.items()}


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of one file by name, in the order of the file."""
    with disk.open_file(path, links=True) as file:
        length = int.from_bytes(file.read(8), "little")
        size = file.seek(0, 2)
        if not 2 <= length <= min(LONGEST_HEADER, size - 8):
            raise UsageError(f"{path} is no safetensors file.")
        file.seek(8)
        text = file.read(length)
    try:
        header = jsonio.parse_json(text)
    except ValueError:
        raise UsageError(f"{path} is no safetensors file: its header is not JSON.") from None
    if not isinstance(header, dict):
        raise UsageError(f"{path} is no safetensors file: its header is no JSON object.")
    return {
        name: _tensor(path, name, entry, 8 + length, size) for name, entry in header.items() if name != "__metadata__"
    }


def _tensor(path: Path, name: str, entry: Any, base: int, size: int) -> StoredTensor:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(start), int(end)]} if all(
            isinstance(length, int) and length >= 0 for length in shape
        ):
            pass
        case _:
            raise UsageError(f"{path} is no safetensors file: its entry for {name!r} is not understood.")
    if dtype not in DTYPES:
        raise UsageError(f"{path}: {name!r} is stored as {dtype}; only {', '.join(DTYPES)} can be compared.")
    tensor = StoredTensor(path, dtype, tuple(shape), base + start)
    if start < 0 or end - start != tensor.size * np.dtype(DTYPES[dtype]).itemsize or base + end > size:
        raise UsageError(f"{path} is damaged: {name!r} does not fit into it.")
    return tensor


def slice_spans(size: int, step: int = SLICE) -> Iterator[tuple[int, int]]:
    """(first, count) of the slices of `size` numbers."""
    for first in range(0, size, step):
        yield first, min(step, size - first)
