"""A vLLM server that belongs to one run: started on loopback, waited for, and ended with the run whatever happens.

It is ended by `stop`, which the model's aclose and the interpreter's exit call; and should the harness be killed, the
kernel sends it SIGTERM (PR_SET_PDEATHSIG), on which vLLM ends its own workers. Its output goes to a file, whose end is
part of the error when it does not come up, and which is removed when it ended as it should. vLLM writes there what it
was started with, so secrets are taken out of both: of the error, and of a log that is kept.

Left out: other systems than Linux, where a killed harness leaves its server behind, and the log in any case.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.errors import UsageError
from harness.key_shapes import is_secret_name

HOST = "127.0.0.1"
MODULE = "vllm.entrypoints.openai.api_server"
GRACE = 20.0
"""Seconds between SIGTERM and SIGKILL."""
TAIL = 400
"""Characters of the log that an error shows."""
DIES_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Asks the kernel for SIGTERM when the parent dies, then becomes the server: the wish survives exec. The check is for a
parent that died before."""
QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class ServerProcess:
    """One server: `arguments` go to vLLM's API server after host and port; it may take `timeout` seconds to be up."""

    def __init__(self, name: str, arguments: Sequence[str], timeout: float, redact: Callable[[str], str] = str) -> None:
        self.port = free_port()
        self.log: Path | None = None
        self._name = name
        self._arguments = list(arguments)
        self._timeout = timeout
        self._redact = redact
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The base URL of its API."""
        return f"http://{HOST}:{self.port}/v1"

    async def start(self) -> None:
        """Returns when the server answers. Raises UsageError, with the end of its log, when it does not."""
        self._launch()
        deadline = time.monotonic() + self._timeout
        try:
            while not await self._healthy():
                self._check(deadline)
                await asyncio.sleep(0.25)
        except BaseException:
            self.stop(keep_log=True)
            raise

    def stop(self, keep_log: bool = False) -> None:
        """Ends the server and everything it started; again is harmless."""
        atexit.unregister(self.stop)
        process, self._process = self._process, None
        if process is None:
            return
        for number, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
                break
        # Workers that outlived the server are in its group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if self.log is not None and not keep_log:
            self.log.unlink(missing_ok=True)
        elif (said := self._said()) != (free := self._redact(said)) and self.log is not None:
            self.log.write_text(free, encoding="utf-8")

    def _launch(self) -> None:
        """To be called in a thread that lives as long as the run: the kernel watches the parent thread."""
        command = [sys.executable, "-m", MODULE, "--host", HOST, "--port", str(self.port), *self._arguments]
        environ = {name: value for name, value in os.environ.items() if not is_secret_name(name)}
        handle, path = tempfile.mkstemp(prefix="vllm-server-", suffix=".log")
        self.log = Path(path)
        with os.fdopen(handle, "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", DIES_WITH_PARENT, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**QUIET, **environ},
            )
        atexit.register(self.stop)

    async def _healthy(self) -> bool:
        import httpx2

        try:
            async with httpx2.AsyncClient(timeout=5.0, trust_env=False) as client:
                response = await client.get(f"http://{HOST}:{self.port}/health")
        except httpx2.HTTPError:
            return False
        return response.status_code == 200

    def _check(self, deadline: float) -> None:
        """Raises UsageError when the server has ended, or when its time is over."""
        status = self._process.poll() if self._process is not None else 0
        if status is None and time.monotonic() < deadline:
            return
        what = f"is not up after {self._timeout:g} s" if status is None else f"ended with status {status}"
        raise UsageError(f"{self._name}: its vLLM server {what}; the log {self.log} ends: {self._tail()}")

    def _tail(self) -> str:
        """The end of the log, on one line. Redacted first: what is left of a secret that was cut is not recognised."""
        lines = (line.strip() for line in self._redact(self._said())[-TAIL:].splitlines())
        return " | ".join(filter(None, lines)) or "(empty)"

    def _said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log is not None else ""
