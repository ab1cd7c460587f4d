"""Models by name: `prefix/rest`, where the prefix names a backend and anything without a known prefix means openai/.

A backend is a module (entry point group `harness.models`) with `load(name, options) -> Model` and optionally
  NAMES   the names that a glob such as `policy/*` matches
  MORE    further names, which no glob matches
  ARGS    the names of the --model-arg options that it takes
  HELP    one line for `harness list`
  HEADERS True where --header adds headers to what it sends
  FREE    True where replies cost nothing: --max-cost then needs no price
  POLICY  True where nobody converses: its models meet a task's scripted user, and play none
  ready   a function of the environment variables: None where the backend can run here, else one sentence with the
          command that mends it, for `harness doctor`
What it returns is a harness.types.Model, or any callable with a name and a fingerprint (see harness.models.base).
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType

from harness.errors import HarnessError, UsageError
from harness.key_shapes import WHERE_KEYS_BELONG, is_key
from harness.models.api.headers import register_headers
from harness.models.base import adapt_model
from harness.redaction import Redactor, public_url
from harness.registry import find_entry_points, load_entry_point, suggest_names
from harness.types import Model

GROUP = "harness.models"
DEFAULT_BACKEND = "openai"


@dataclass(frozen=True)
class ModelOptions:
    """What a backend may need: `args` from --model-arg, where requests go, how many at once, and the environment."""

    args: Mapping[str, str] = field(default_factory=dict, repr=False)
    base_url: str | None = None
    concurrency: int = 16
    seed: int | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    redact: Redactor = field(default_factory=Redactor)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Added to every request: those of --header."""
    max_tokens_option: str | None = None
    """The option by which a person set the new tokens of a turn; None: nobody did, and an endpoint may have fewer."""


def load_backends() -> dict[str, ModuleType | UsageError]:
    """Every backend that is installed, by prefix: its module, or why it cannot be imported."""
    found: dict[str, ModuleType | UsageError] = {}
    for prefix in sorted(find_entry_points(GROUP)):
        try:
            found[prefix] = load_backend(prefix)
        except UsageError as error:
            found[prefix] = error
    return found


def load_backend(prefix: str) -> ModuleType:
    """One backend; the others are not imported."""
    module: ModuleType = load_entry_point(GROUP, prefix)
    return module


def expand_names(patterns: Sequence[str]) -> list[str]:
    """Full model names: globs over the names that backends declare, everything else as it stands, without repeats."""
    known = find_entry_points(GROUP)
    names: list[str] = []
    for pattern in patterns:
        if is_key(pattern):
            raise UsageError(f"A model's name looks like an API key, which is not repeated here: {WHERE_KEYS_BELONG}.")
        prefix, slash, rest = pattern.partition("/")
        if not pattern or (slash and prefix in known and not rest):
            raise UsageError(f"The model {pattern!r} lacks a name: {prefix or 'openai'}/NAME.")
        listed = getattr(load_backend(prefix), "NAMES", ()) if prefix in known else ()
        if any(character in rest for character in "*?[") and listed:
            found = [f"{prefix}/{name}" for name in listed if fnmatch.fnmatchcase(name, rest)]
            if not found:
                raise UsageError(f"No model matches {pattern!r}; {prefix}/ has {', '.join(listed)}.")
            names += found
        elif prefix in known and rest:
            names.append(pattern)
        elif Path(pattern).is_dir() or pattern.startswith((".", "/", "~")):
            raise UsageError(
                f"{pattern!r} is a directory's path: name it as hf/{pattern} or vllm/{pattern}, or as "
                f"{DEFAULT_BACKEND}/{pattern} where an endpoint has a model of that name."
            )
        else:
            names.append(f"{DEFAULT_BACKEND}/{pattern}")
    return list(dict.fromkeys(names))


def load_models(names: Sequence[str], options: ModelOptions) -> list[Model]:
    """The models of full names. Each gets those of the arguments, and the headers, that its backend takes.

    Raises UsageError for a name that its backend does not know, and for what no backend takes.
    """
    register_headers(options.redact, options.headers)
    takes = {name: arguments_of(name, options.args) for name in names}
    if unknown := [arg for arg in options.args if not any(arg in taken for taken in takes.values())]:
        known = sorted({arg for name in names for arg in getattr(_backend(name), "ARGS", ())})
        raise UsageError(
            f"--model-arg {unknown[0]} is unknown to {', '.join(map(public_name, names))}"
            + (f"; there {'is' if len(known) == 1 else 'are'} {', '.join(known)}." if known else ", which take none.")
        )
    sending = [name for name in names if _sends_headers(name)] or names
    headers = {name: options.headers if name in sending else {} for name in names}
    return [load_model(name, replace(options, args=taken, headers=headers[name])) for name, taken in takes.items()]


def _explain_prefix(rest: str) -> str:
    """What a name that looks like a backend's and is none may have meant; nothing for another name."""
    prefix, slash, _ = rest.partition("/")
    known = find_entry_points(GROUP)
    if not slash or not prefix or prefix in known or "://" in rest:
        return ""
    return f" No backend is called {prefix}/ ({', '.join(sorted(known))} are); a model in a folder here is hf/PATH."


def public_name(name: str) -> str:
    """A model's name as it may be printed: without the password of a URL in it."""
    prefix, _, rest = name.partition("/")
    return f"{prefix}/{public_url(rest)}" if "://" in rest else name


def is_free(name: str) -> bool:
    """Whether the backend of a full name says that its replies cost nothing."""
    return name.partition("/")[0] in find_entry_points(GROUP) and bool(getattr(_backend(name), "FREE", False))


def is_policy(name: str) -> bool:
    """Whether the backend of a full name says that it is a policy, which cannot converse."""
    return name.partition("/")[0] in find_entry_points(GROUP) and bool(getattr(_backend(name), "POLICY", False))


def _backend(name: str) -> ModuleType:
    return load_backend(name.partition("/")[0])


def arguments_of(name: str, args: Mapping[str, str]) -> dict[str, str]:
    """Those of the arguments that the model's backend takes: all where it does not say which."""
    declared = getattr(_backend(name), "ARGS", None)
    return {arg: value for arg, value in args.items() if declared is None or arg in declared}


def _sends_headers(name: str) -> bool:
    return bool(getattr(_backend(name), "HEADERS", False))


def load_model(name: str, options: ModelOptions) -> Model:
    """The model of a full name. Raises UsageError for a name that its backend does not know, or gives no model for."""
    register_headers(options.redact, options.headers)
    if options.headers and not _sends_headers(name):
        raise UsageError(f"{public_name(name)} sends no requests to an endpoint: leave --header out for it.")
    prefix, _, rest = name.partition("/")
    backend = load_backend(prefix)
    listed = getattr(backend, "NAMES", ())
    if listed and rest not in (listed := (*listed, *getattr(backend, "MORE", ()))):
        raise UsageError(f"No model is called {name!r}.{suggest_names(name, [f'{prefix}/{n}' for n in listed])}")
    try:
        return adapt_model(load_backend(prefix).load(rest, options), public_name(name))
    except UsageError as error:
        raise UsageError(
            f"{options.redact(str(error))}{_explain_prefix(rest) if prefix == DEFAULT_BACKEND else ''}"
        ) from error
    except HarnessError:
        raise
    except Exception as error:
        said = options.redact(f"{type(error).__name__}: {error}")
        raise UsageError(f"{public_name(name)} cannot be loaded: {said}.") from error
