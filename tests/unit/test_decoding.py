"""Settings of sampling beside the temperature: in which API's request they stand, what refuses them, what they do."""

from dataclasses import replace

import pytest

from harness.errors import UsageError
from harness.evaluation.plan import check_sampling
from harness.models import ModelOptions, load_model
from harness.runs.identity import identity_json
from harness.types import SAMPLING_OPTIONS, Gold, Message, ModelRequest, Sample, Sampling

ALL = {
    "top_p": 0.9,
    "top_k": 40,
    "min_p": 0.05,
    "presence_penalty": 0.5,
    "frequency_penalty": -0.5,
    "repetition_penalty": 1.1,
}
OPENAI = ("top_p", "presence_penalty", "frequency_penalty")


def model(name, base_url=None, **args):
    return load_model(name, ModelOptions({"api_key": "sk-12345678", **args}, base_url, environ={}))


def sent(model, **options):
    messages = (Message("user", "hello"),)
    request = ModelRequest(messages, (), Sampling(**options), Sample("s", messages, (), {}, Gold({})))
    return model._dialect.make_request(request).body


@pytest.mark.parametrize(
    ("name", "url", "args", "taken"),
    [
        ("openai/gpt-4.1", None, {}, OPENAI),
        ("openai/qwen", "http://localhost/v1", {}, SAMPLING_OPTIONS),
        ("openai/qwen", "http://localhost/v1", {"api": "responses"}, ("top_p",)),
        ("openai/gpt-5.4", None, {}, ("top_p",)),
        ("gemini/gemini-2.5-flash", None, {}, ("top_p",)),
        ("anthropic/claude-haiku-4-5", None, {}, ("top_p", "top_k")),
        ("anthropic/claude-opus-4-7", None, {}, ()),
    ],
)
def test_each_api_is_sent_what_it_has_and_the_rest_is_refused(name, url, args, taken):
    asked = model(name, url, **args)
    assert not set(sent(asked)) & set(SAMPLING_OPTIONS)
    chosen = {option: ALL[option] for option in taken}
    check_sampling(asked, Sampling(**chosen))
    assert {option: value for option, value in sent(asked, **chosen).items() if option in SAMPLING_OPTIONS} == chosen
    for option in set(SAMPLING_OPTIONS) - set(taken):
        with pytest.raises(UsageError, match=f"^{name} has no setting for --{option.replace('_', '-')}: leave it out"):
            check_sampling(asked, Sampling(**{option: ALL[option]}))


def test_a_model_that_draws_nothing():
    check_sampling(model("policy/oracle"), Sampling(top_p=0.9))


def test_settings_stand_in_an_identity_where_they_are_made():
    assert identity_json(Sampling(0.5, 7, 3)) == {"temperature": 0.5, "max_tokens": 7, "seed": 3}
    assert identity_json(Sampling(top_k=40))["top_k"] == 40
    assert replace(Sampling(), **ALL).options == ALL


def test_claude_models_that_take_one_of_temperature_and_top_p_get_top_p():
    asked = model("anthropic/claude-haiku-4-5")
    messages = (Message("user", "hello"),)
    request = ModelRequest(messages, (), Sampling(top_p=0.9), Sample("s", messages, (), {}, Gold({})))
    first = asked._dialect.make_request(request)
    said = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
    failure = asked._dialect.read_failure(first, 400, {}, f'{{"error": {{"message": "{said}"}}}}')
    assert asked._dialect.adapt(failure, first)
    again = asked._dialect.make_request(request).body
    assert ("temperature" in again, again["top_p"]) == (False, 0.9)
