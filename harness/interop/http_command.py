"""`harness serve --http`: what is served, behind which token, and what is said on the terminal."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from harness.console.text import printable
from harness.data import disk
from harness.errors import HarnessError, UsageError
from harness.interop import http_server
from harness.interop.sessions import Bounds, ServedTasks, Sessions
from harness.interop.turns import check_playable
from harness.registry import load_samples, select_tasks
from harness.sandbox import Sandbox, SandboxConfig

INTERRUPTED = 130
VARIABLE = "HARNESS_TOKEN"
SHORTEST = 16
"""Characters of a token that somebody chose."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; 0 is a port that is free."""

    host: str = "127.0.0.1"
    port: int = 0


def serve_tasks(
    served: ServedTasks, address: Address, bounds: Bounds, token_file: Path | None, sandbox: Literal["jail", "weak"]
) -> int:
    """Serves until Ctrl-C or a polite kill; returns the exit status. Raises UsageError where there is no token to be
    had, or no port, and SandboxError where tools cannot be run."""
    token, chosen = find_token(token_file)

    def ready(port: int) -> None:
        host = f"[{address.host}]" if ":" in address.host else address.host
        print(f"http://{host}:{port}", flush=True)
        count = sum(map(len, served.samples.values()))
        print(
            printable(f"{count:,} samples of {', '.join(served.tasks)} (sandbox: {mode}), until Ctrl-C."),
            file=sys.stderr,
        )
        if not is_loopback(address.host):
            print(
                "Others on the network can read what is sent, the token too: put a proxy with TLS in front.",
                file=sys.stderr,
            )
        if not chosen:
            print(f"Token, shown this once: {token}", file=sys.stderr)

    with Sandbox(SandboxConfig(mode=sandbox)) as jail:
        mode = jail.layers["mode"]  # starts it, so that one that cannot run is said now
        ended = asyncio.run(http_server.serve(Sessions(served, jail, bounds), token, address.host, address.port, ready))
    return INTERRUPTED if ended == signal.SIGINT else 0


def find_served(pattern: str, data: Mapping[str, Path]) -> ServedTasks:
    """The tasks that a pattern means, loaded; those that only `harness eval` plays are named and left out. Raises
    UsageError where there are none."""
    playable, refused = [], None
    for task in select_tasks([pattern], data):
        try:
            check_playable(task)
        except UsageError as error:
            refused = error
            print(printable(f"Left out: {error}"), file=sys.stderr)
        else:
            playable.append(task)
    if not playable and refused is not None:
        raise refused
    samples = load_samples(playable)
    tasks = {task.name: task for task in playable if task.name in samples}
    return ServedTasks(tasks, {name: {one.id: one for one in samples[name]} for name in tasks})


def find_token(file: Path | None) -> tuple[str, bool]:
    """The token, and whether somebody chose it; else a new one, for which there must be a terminal to show it on.
    Raises UsageError, in which no token stands."""
    said = os.environ.get(VARIABLE)
    if file is not None:
        said = read_token(file)
    if said is not None:
        if len(said) < SHORTEST or not said.isascii() or not said.isprintable() or " " in said:
            raise UsageError(f"A token has at least {SHORTEST} letters, digits or signs of ASCII, and no spaces.")
        return said, True
    if not sys.stderr.isatty():
        raise UsageError(
            f"A token is shown on a terminal only, and this is none: set {VARIABLE}, or give --token-file."
        )
    return secrets.token_urlsafe(32), False


def read_token(file: Path) -> str:
    """Raises UsageError."""
    try:
        return disk.read_file(file, links=True).decode().strip()
    except (OSError, HarnessError, UnicodeDecodeError):
        raise UsageError(f"{file} cannot be read as a token.") from None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
