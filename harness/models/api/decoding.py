"""How a reply is drawn beside its temperature: which of those settings an API has, as fields of a request.

The names are everybody's: OpenAI has three of them, vLLM and SGLang take all as further fields of chat completions.
"""

from __future__ import annotations

from collections.abc import Collection

from harness.errors import UsageError
from harness.types import JSONObject, Sampling

OPENAI_OPTIONS = ("top_p", "presence_penalty", "frequency_penalty")
RESPONSES_OPTIONS = ("top_p",)
ANTHROPIC_OPTIONS = ("top_p", "top_k")
GEMINI_OPTIONS = ("top_p",)


def check_options(name: str, sampling: Sampling, known: Collection[str]) -> None:
    """Raises UsageError for a setting that the model `name` has nothing for."""
    for option in sampling.options:
        if option not in known:
            raise UsageError(f"{name} has no setting for --{option.replace('_', '-')}: leave it out for this model.")


def decoding_fields(name: str, sampling: Sampling, known: Collection[str]) -> JSONObject:
    """The settings that were made, as fields. Raises UsageError as `check_options` does."""
    check_options(name, sampling, known)
    return dict(sampling.options)
