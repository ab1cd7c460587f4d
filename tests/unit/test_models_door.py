"""Somebody's model that does not inherit ours: wrapped once, where models are loaded."""

import asyncio
from types import SimpleNamespace

import pytest
from builders import sample, says

from harness import models
from harness.batching import BatchModel
from harness.errors import ModelFailure, UsageError
from harness.models import ModelOptions
from harness.models.base import adapt_model
from harness.types import Model, ModelRequest, Reasoning, Reply, Sampling

ASKED = ModelRequest([], (), Sampling(), sample())


def speak(request):
    return Reply(says("Answer: 1"))


speak.name = "mine/speak"
speak.fingerprint = {"backend": "mine"}


class Full:
    """An object with every optional part, and none of ours in its bases."""

    name, fingerprint, width = "mine/full", {"backend": "mine"}, 2

    def __init__(self):
        self.told = []

    def __call__(self, request):
        return Reply(says("alone"))

    def batch(self, requests):
        return [ModelFailure("no", outcome="model_error", stop="no"), *[Reply(says("together"))] * (len(requests) - 1)]

    def check(self, samples):
        raise UsageError(f"{len(samples)} are too many.")

    def switch(self, reasoning):
        return {"thinking": reasoning.label}

    async def aclose(self):
        self.told.append("aclose")

    def close(self):
        self.told.append("close")


@pytest.fixture
def backend(monkeypatch):
    """The backend `mine`, as an installed package offers it: what it loads is put in here."""
    module = SimpleNamespace(load=lambda name, options: module.found)
    known = models.find_entry_points
    monkeypatch.setattr(models, "find_entry_points", lambda group: {**known(group), "mine": None})
    monkeypatch.setattr(models, "load_entry_point", lambda group, name: module)
    return module


def test_a_plain_function_has_the_defaults(backend):
    backend.found = speak
    [model] = models.load_models(["mine/speak"], ModelOptions())
    assert isinstance(model, Model) and not isinstance(model, BatchModel)
    assert (model.name, model.fingerprint) == ("mine/speak", {"backend": "mine"})
    assert model(ASKED).message.content == "Answer: 1"
    assert model.switch(Reasoning("on")) is None
    assert (model.check([sample()]), model.close(), asyncio.run(model.aclose())) == (None, None, None)


def test_an_objects_own_parts_are_used(backend):
    backend.found = theirs = Full()
    model = models.load_model("mine/full", ModelOptions())
    assert isinstance(model, BatchModel) and model.width == 2
    assert model(ASKED).message.content == "alone"
    failed, said = model.batch([ASKED, ASKED])
    assert isinstance(failed, ModelFailure) and said.message.content == "together"
    assert model.switch(Reasoning("off")) == {"thinking": "off"}
    with pytest.raises(UsageError, match="1 are too many"):
        model.check([sample()])
    asyncio.run(model.aclose())
    model.close()
    assert theirs.told == ["aclose", "close"]


def test_one_that_inherits_is_left_alone():
    class Mine(Model):
        name, fingerprint = "mine/own", {}

        def __call__(self, request):
            return speak(request)

    model = Mine()
    assert adapt_model(model, "mine/own") is model


@pytest.mark.parametrize(
    ("found", "said"), [(None, "NoneType has no name, fingerprint, __call__"), (len, "no name, fingerprint")]
)
def test_what_is_no_model_is_refused_in_a_sentence(backend, found, said):
    backend.found = found
    with pytest.raises(UsageError, match=f"^mine/x cannot be loaded: its backend gave no model .*{said}"):
        models.load_model("mine/x", ModelOptions())


def test_a_batch_models_failure_is_raised_where_it_is_asked_alone():
    class Unlucky(BatchModel):
        name, fingerprint, width = "unlucky", {}, 4

        def batch(self, requests):
            return [ModelFailure("no", outcome="model_error", stop="no") for _ in requests]

    with pytest.raises(ModelFailure, match=r"^no$"):
        Unlucky()(ASKED)
