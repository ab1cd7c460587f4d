"""What lm-eval's code for IFEval reads beside the documents: a language detector and nltk's model of sentences.

lm-eval fetches the model of sentences when it is imported, and the detector draws. Here nothing is fetched unless that
was allowed, and what is drawn is the same every time, so that a reply is scored the same when it is scored again.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from harness.errors import MissingData, UsageError
from harness.extras import install_command
from tasks.lmeval.benchmarks import HUB, Benchmark

SENTENCES = "punkt_tab"


def require(benchmark: Benchmark) -> None:
    """Raises UsageError where a library is missing, MissingData where the model of sentences is."""
    if missing := [name for name in benchmark.needs if find_spec(name) is None]:
        raise UsageError(f"{benchmark.name} needs {missing[0]}, which is not installed: {install_command('lm-eval')}.")
    detector: Any = import_module("langdetect").DetectorFactory
    detector.seed = 0
    try:
        import_module("nltk").data.find(f"tokenizers/{SENTENCES}")
    except LookupError:
        if os.environ.get(HUB) != "0":
            raise MissingData(
                f"{benchmark.name} needs nltk's {SENTENCES}: python -m nltk.downloader {SENTENCES} (nothing is fetched "
                f"unless {HUB}=0 is set)."
            ) from None
