"""What makes a run this one and no other: settings as identities hold them, and what a resumed run may ask otherwise.

A run stays the same where its model only answers at another address and where more epochs are asked for. Its episodes
keep the model's name and fingerprint that the run began with, so old and new ones belong together.
"""

from __future__ import annotations

import fnmatch
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

from harness.data import jsonio
from harness.types import JSONObject, Limits, Reasoning, Sampling

FIRST: Mapping[type, tuple[str, ...]] = {
    Sampling: ("temperature", "max_tokens", "seed"),
    Limits: ("max_turns", "max_episode_tokens", "max_episode_seconds"),
    Reasoning: ("mode", "effort", "budget", "history"),
}
"""The fields that are in every identity there is, whatever their value."""


def identity_json(settings: Any) -> JSONObject:
    """A dataclass of settings as it stands in identities and keys. A field that came later than the first runs is left
    out at its default, so that these stay the runs they were."""
    first = next((names for kind, names in FIRST.items() if isinstance(settings, kind)), ())
    values = {field: getattr(settings, field.name) for field in fields(settings)}
    return {
        field.name: identity_json(value) if is_dataclass(value) else value
        for field, value in values.items()
        if field.name in first or value != _default(field)
    }


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


# --- going on with a run -----------------------------------------------------------------------------------------

ManifestDifference = dict[str, tuple[Any, Any]]


def find_differences(earlier: Mapping[str, Any], asked: Mapping[str, Any]) -> ManifestDifference:
    """What of the configuration is another run's: name to what is there and what is asked for now. Where the model is
    another, what its backend says of it rather than a digest, if that tells them apart: secrets are equal there."""
    then, wanted = (dict(_flat(identity)) for identity in (earlier["identity"], _as_begun(earlier, asked)))
    if then["epochs"] < wanted["epochs"]:
        del wanted["epochs"], then["epochs"]
    differing = _unequal(then, wanted)
    if "model_fingerprint" in differing and "model" not in differing:
        models = (dict(_flat(manifest.get("model", {}), "model.")) for manifest in (earlier, asked))
        told = _unequal(*models)
        told.pop("model.base_url", None)
        if told:
            del differing["model_fingerprint"]
            differing |= told
    return differing


def find_allowed_changes(earlier: Mapping[str, Any], asked: Mapping[str, Any]) -> JSONObject:
    """The parts of the manifest that are others once a run goes on for which `find_differences` finds none: its
    epochs, and every address that its model had."""
    changes: JSONObject = {}
    if (epochs := asked["identity"]["epochs"]) != earlier["identity"]["epochs"]:
        changes["identity"] = {**earlier["identity"], "epochs": epochs}
    first, now = (manifest.get("model", {}).get("base_url") for manifest in (earlier, asked))
    known = earlier.get("base_urls", [first])
    if now not in known:
        changes["base_urls"] = [*known, now]
    return changes


def describe_differences(differing: ManifestDifference) -> str:
    """The first three differences, for a person."""
    said = ", ".join(f"{name}: {_short(a)} there, {_short(b)} now" for name, (a, b) in list(differing.items())[:3])
    return said + (f" and {len(differing) - 3} more" if len(differing) > 3 else "")


def describe_other_version(
    earlier: Mapping[str, Any], asked: Mapping[str, Any], differing: ManifestDifference
) -> str | None:
    """Which version of its tasks the earlier run was played on, where it differs in nothing else from the one that is
    asked for, and how --tasks names that version; a verifier can follow. None where there is more to it."""
    there, now = (
        {name: version_of(entry) for name, entry in manifest["tasks"].items()} for manifest in (earlier, asked)
    )
    names = [name for name, version in now.items() if there.get(name, version) != version]
    if not names or set(differing) - {"verifier", *(f"tasks.{name}" for name in names)}:
        return None
    old, new = there[names[0]], now[names[0]]
    words = [word for pattern in _patterns(earlier, names) for word in _versioned(pattern, there, names)]
    return f"version {old} of {names[0]}, which is version {new} here: --tasks {shlex.join(words)}"


def version_of(entry: Mapping[str, Any]) -> int:
    """The version of a task by its entry in a manifest, where the first is not mentioned."""
    return int(entry.get("version", 1))


def _patterns(manifest: Mapping[str, Any], names: Sequence[str]) -> Sequence[str]:
    """How the run's tasks were named, or the names of those that are meant."""
    patterns = manifest["sources"].get("tasks")
    known = isinstance(patterns, list) and all(isinstance(pattern, str) for pattern in patterns)
    return patterns if known else names


def _versioned(pattern: str, versions: Mapping[str, int], names: Sequence[str]) -> list[str]:
    """The pattern with @N, or the tasks that it means where these are not all of one version; as it is where it means
    none of `names`."""
    meant = fnmatch.filter(versions, pattern)
    if not set(meant) & set(names):
        return [pattern]
    found = {versions[name] for name in meant}
    if len(found) == 1:
        return [f"{pattern}@{found.pop()}"]
    return [f"{name}@{versions[name]}" for name in meant]


def _as_begun(earlier: Mapping[str, Any], asked: Mapping[str, Any]) -> JSONObject:
    """The identity that is asked for, with the names and fingerprints of models as the run has them, where these are
    the same models at another address."""
    began, identity = earlier["identity"], asked["identity"]
    users, before = identity.get("users", {}), began.get("users", {})
    kept = {
        task: _kept(before.get(task, {}), user, _of(earlier, "user"), _of(asked, "user"))
        for task, user in users.items()
    }
    model = _kept(began, identity, _of(earlier, "model"), _of(asked, "model"))
    return {**model, **({"users": kept} if users else {})}


def _kept(began: Mapping[str, Any], asked: JSONObject, there: Mapping[str, Any], now: Mapping[str, Any]) -> JSONObject:
    """`asked` with the model's name and fingerprint of `began`, where the backend's words `there` and `now` of it
    differ in nothing but the address: they are all that the digests are made of, and with the old address give the old
    one. Words that lack a secret give neither digest."""
    moved = {**now, **{place: there[place] for place in _places(there) & _places(now)}}
    digests = [identity.get("model_fingerprint") for identity in (began, asked)]
    if digests != [jsonio.digest(moved), jsonio.digest(now)]:
        return asked
    return {**asked, "model": began["model"], "model_fingerprint": began["model_fingerprint"]}


def _places(model: Mapping[str, Any]) -> set[str]:
    """The parts of a model's fingerprint that say where it answers; of vllm-server/URL the name does too."""
    named = str(model.get("name")).startswith(("http://", "https://"))
    return {"base_url", *(["name"] if named else [])} if "base_url" in model else set()


def _of(manifest: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    """What a backend says of the model or of the user's; nothing where there is none."""
    found = manifest.get(part)
    return found if isinstance(found, dict) else {}


def _unequal(then: Mapping[str, Any], now: Mapping[str, Any]) -> ManifestDifference:
    return {n: (then.get(n), now.get(n)) for n in sorted({*then, *now}) if then.get(n) != now.get(n)}


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, part in value.items():
        if isinstance(part, dict):
            yield from _flat(part, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", part


def _short(value: Any) -> str:
    text = value if isinstance(value, str) and value.isprintable() else jsonio.canonical_json(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
