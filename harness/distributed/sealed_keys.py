"""Variables with keys in them on their way to another machine.

Ray writes the variables of a runtime environment into its logs, in the clear. So what is set there is the keys combined
with as many random bytes, and these bytes travel as an argument, which Ray does not log: neither of the two says
anything of the keys but how long they are together.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field

from harness.errors import UsageError

VARIABLE = "HARNESS_SEALED_KEYS"


@dataclass(frozen=True)
class SealedKeys:
    """The two halves: `variables` for the runtime environment, `pad` for whoever opens them."""

    variables: Mapping[str, str] = field(default_factory=dict)
    pad: bytes = field(default=b"", repr=False)


def seal_keys(names: Sequence[str], environ: Mapping[str, str]) -> SealedKeys:
    """The variables of these names. Raises UsageError for one that is not set."""
    if missing := [name for name in names if not environ.get(name)]:
        raise UsageError(f"--ray-keys names {missing[0]}, which is not set here.")
    if not names:
        return SealedKeys()
    text = json.dumps({name: environ[name] for name in names}).encode()
    pad = secrets.token_bytes(len(text))
    return SealedKeys({VARIABLE: _combined(text, pad).hex()}, pad)


def open_keys(pad: bytes, environ: MutableMapping[str, str]) -> None:
    """Sets the variables that were sealed, where any were."""
    if pad and (sealed := environ.pop(VARIABLE, None)):
        environ.update(json.loads(_combined(bytes.fromhex(sealed), pad)))


def _combined(text: bytes, pad: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(text, pad, strict=True))
