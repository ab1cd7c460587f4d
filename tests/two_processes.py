"""A program in two processes of one run, as torch's launcher starts them."""

import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

ABORTED = "terminate called without an active exception"


def run_in_two(words: Sequence[object], environ: Mapping[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
    """What `python WORDS` did there, with where each thread was if it died.

    Once more where torch aborted one of them, as it once did in the first step of DDP over gloo.
    """
    done = launch(words, environ, timeout)
    return launch(words, environ, timeout) if done.returncode != 0 and ABORTED in done.stderr else done


def launch(words: Sequence[object], environ: Mapping[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port]
    return subprocess.run(
        [str(word) for word in (*launcher, "--no-python", sys.executable, *words)],
        env={**environ, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
