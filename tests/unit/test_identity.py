"""What makes a run this one: fields that came later, a model at another address, more epochs."""

from dataclasses import dataclass, field

import pytest

from harness.data import jsonio
from harness.runs.identity import find_allowed_changes, find_differences, identity_json
from harness.runs.record import key_of
from harness.types import Limits, Reasoning, RunKey, Sampling


@dataclass(frozen=True)
class LaterSampling(Sampling):
    stop: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LaterLimits(Limits):
    max_calls: int = 0


@dataclass(frozen=True)
class LaterReasoning(Reasoning):
    shown: bool = True


def key(sampling, limits, reasoning, user=None):
    return RunKey("t", "print", "s", 0, "m", "model", reasoning, sampling, limits, user)


FIRST = key(Sampling(), Limits(), Reasoning())


def test_todays_settings_stand_in_identities_as_they_always_did():
    assert identity_json(Sampling()) == {"temperature": 0.0, "max_tokens": 8192, "seed": None}
    assert list(identity_json(Limits())) == ["max_turns", "max_episode_tokens", "max_episode_seconds"]
    assert key_of(FIRST) == "eebce0e6ef8d7987"
    everything = key(Sampling(0.5, 7, 3), Limits(2, 100, 1.5), Reasoning("on", "low", None, "last"), "user")
    assert key_of(everything) == "e7fcda564369e3ec"


def test_a_later_field_at_its_default_changes_no_identity():
    later = key(LaterSampling(), LaterLimits(), LaterReasoning())
    assert key_of(later) == key_of(FIRST)
    assert identity_json(later.sampling) == identity_json(Sampling())


@pytest.mark.parametrize(
    "later",
    [
        key(Sampling(top_p=0.9), Limits(), Reasoning()),
        key(LaterSampling(stop=["\n"]), Limits(), Reasoning()),
        key(Sampling(), LaterLimits(max_calls=3), Reasoning()),
        key(Sampling(), Limits(), LaterReasoning(shown=False)),
    ],
)
def test_a_later_field_at_another_value_is_another_identity(later):
    assert key_of(later) != key_of(FIRST)


# --- going on ----------------------------------------------------------------------------------------------------


def endpoint(url, **more):
    return {"backend": "openai", "name": "m", "base_url": url, "args": {}, **more}


def served(url):
    """What vllm-server/URL says of itself: its name is where it answers."""
    return endpoint(f"{url}/v1", backend="vllm-server", name=url, model="qwen")


def manifest(model, epochs=1, user=None, **identity):
    said = {"model": f"{model['backend']}/{model['name']}", "model_fingerprint": jsonio.digest(model)}
    playing = {"model": f"openai/{user['name']}", "model_fingerprint": jsonio.digest(user)} if user else {}
    return {
        "identity": {**said, "epochs": epochs, **({"users": {"t": playing}} if user else {}), **identity},
        "model": model,
        **({"user": user} if user else {}),
    }


A, B, C = (f"http://{host}:8000" for host in "abc")


@pytest.mark.parametrize("made", [endpoint, served])
def test_a_model_at_another_address_is_the_same_and_its_addresses_are_kept(made):
    run = manifest(made(A))
    assert find_differences(run, manifest(made(B))) == {}
    assert find_allowed_changes(run, run) == {}
    for other in (B, B, C, A):
        assert find_differences(run, manifest(made(other))) == {}
        run |= find_allowed_changes(run, manifest(made(other)))
    assert run["identity"] == manifest(made(A))["identity"]
    assert run["base_urls"] == [made(url)["base_url"] for url in (A, B, C)]


def test_a_simulated_user_at_another_address_is_the_same():
    run, moved = (manifest(endpoint(A), user=endpoint(url, name="u")) for url in (A, B))
    assert find_differences(run, moved) == {}
    other = manifest(endpoint(A), user=endpoint(B, name="another"))
    assert set(find_differences(run, other)) == {"users.t.model", "users.t.model_fingerprint"}


def test_what_else_differs_is_named_without_the_address():
    other = manifest(endpoint(B, args={"api": "chat"}))
    assert find_differences(manifest(endpoint(A)), other) == {"model.args.api": (None, "chat")}


def test_a_secret_that_differs_is_not_taken_for_a_move():
    run, other = manifest(endpoint(A)), manifest(endpoint(B), model_fingerprint="of what was redacted")
    assert set(find_differences(run, other)) == {"model_fingerprint"}


def test_more_epochs_are_the_same_run_and_fewer_are_not():
    run = manifest(endpoint(A), epochs=2)
    assert find_differences(run, manifest(endpoint(A), epochs=3)) == {}
    assert find_allowed_changes(run, manifest(endpoint(A), epochs=3)) == {"identity": {**run["identity"], "epochs": 3}}
    assert find_differences(run, manifest(endpoint(A), epochs=1)) == {"epochs": (2, 1)}
