"""What Google's compatible endpoint differs in: its switch, its thoughts, its errors, its settings."""

import json
from functools import partial
from typing import Any

import pytest

from harness.errors import UsageError
from harness.models import ModelOptions
from harness.models.api import gemini
from harness.models.api.reasoning import gemini_switch as switch
from harness.models.api.refusals import Refusals
from harness.models.api.wire import WireRequest
from harness.redaction import Redactor
from harness.types import Gold, Message, ModelRequest, Reasoning, Reply, Sample, Sampling

USER = Message("user", "hello")
REQUEST = ModelRequest((USER,), (), Sampling(), Sample("s", (USER,), (), {}, Gold({})))
NAME = "gemini-2.5-flash"


def dialect() -> gemini.GeminiDialect:
    return gemini.GeminiDialect(NAME, partial(switch, f"gemini/{NAME}"), Refusals(f"gemini/{NAME}", {}, {}))


def reply_of(message: dict[str, Any]) -> Reply:
    content = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
    reply = dialect().read_reply(WireRequest("/chat/completions", {}), content, REQUEST)
    assert isinstance(reply, Reply)
    return reply


@pytest.mark.parametrize(
    ("content", "reasoning", "said"),
    [
        ("<thought>hm\n</thought>yes", "hm", "yes"),
        ("\n<thought>hm</thought>\n\nyes", "hm", "yes"),
        ("<thought></thought>yes", None, "yes"),
        ("<thought>never closed", None, "<thought>never closed"),
        ("yes <thought>hm</thought>", None, "yes <thought>hm</thought>"),
        (None, None, ""),
    ],
)
def test_thoughts_are_no_part_of_what_was_said(content: Any, reasoning: str | None, said: str) -> None:
    message = reply_of({"content": content}).message
    assert (message.reasoning, message.content, message.echo) == (reasoning, said, ())


def config(name: str, reasoning: Reasoning) -> Any:
    return switch(f"gemini/{name}", reasoning)["extra_body"]["google"]["thinking_config"]


@pytest.mark.parametrize("effort", ["low", "medium", "high"])
def test_efforts_are_budgets_up_to_2_5_and_levels_from_3(effort: Any) -> None:
    reasoning = Reasoning("on", effort=effort)
    budget = {"low": 1024, "medium": 8192, "high": 24576}[effort]
    assert config("gemini-2.5-pro", reasoning) == {"thinking_budget": budget, "include_thoughts": True}
    for name in ("gemini-3-pro-preview", "gemini-3.5-flash", "gemini-flash-latest"):
        assert config(name, reasoning) == {"thinking_level": effort, "include_thoughts": True}


@pytest.mark.parametrize("name", ["gemini-2.5-pro", "gemini-3-flash-preview", "gemini-3.5-flash"])
def test_models_that_always_think_cannot_be_turned_off(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        switch(f"gemini/{name}", Reasoning("off"))
    assert str(caught.value) == f"gemini/{name} always thinks: its thinking cannot be turned off, use low."
    assert config("gemini-2.5-flash-lite", Reasoning("off")) == {"thinking_budget": 0}


@pytest.mark.parametrize(
    ("status", "said", "stop", "refused"),
    [
        (400, "Thinking is not enabled for models/gemini-2.0-flash", "http_400", "extra_body"),
        (400, "Budget 0 is invalid. This model only works in thinking mode.", "http_400", "extra_body"),
        (400, "Function call is missing a thought_signature in functionCall parts.", "http_400", None),
        (400, "The input token count exceeds the maximum number of tokens allowed", "context_length", None),
        (400, "Invalid schema", "http_400", None),
        (503, "thinking hard", "http_503", None),
    ],
)
def test_errors_come_in_a_list(status: int, said: str, stop: str, refused: str | None) -> None:
    body = json.dumps([{"error": {"code": status, "message": said, "status": "X"}}])
    failure = dialect().read_failure(WireRequest("/chat/completions", {}), status, {}, body)
    assert (failure.stop, failure.refused, failure.text) == (stop, refused, f"HTTP {status}: {said}")


def options(base_url: str | None = None, environ: dict[str, str] | None = None, **args: str) -> ModelOptions:
    return ModelOptions(args, base_url, 4, 1, environ or {}, Redactor())


def test_a_model_says_who_it_is() -> None:
    given = options(environ={"GEMINI_API_KEY": "AIza-12345678", "GOOGLE_API_KEY": "AIza-of-google"})
    model = gemini.load(NAME, given)
    assert model.name == f"gemini/{NAME}"
    assert model.fingerprint == {
        "backend": "gemini",
        "name": NAME,
        "base_url": "https://generativelanguage.googleapis.com/v1beta/openai",
        "args": {},
    }
    assert gemini.read_settings(NAME, given).api_key == "AIza-12345678"
    assert given.redact("AIza-12345678 AIza-of-google") == "[redacted] [redacted]"
    assert gemini.read_settings(NAME, options(environ={"GOOGLE_API_KEY": "AIza-of-google"})).api_key == "AIza-of-google"


def test_openais_variables_are_not_googles() -> None:
    environ = {"OPENAI_API_KEY": "sk-12345678", "OPENAI_BASE_URL": "http://localhost/v1"}
    with pytest.raises(UsageError) as caught:
        gemini.load(NAME, options(environ=environ))
    assert str(caught.value) == f"gemini/{NAME} needs a key: set GEMINI_API_KEY, or give --model-arg api_key=KEY."
    assert gemini.ready(environ) == "no key: export GEMINI_API_KEY=KEY"
    assert gemini.ready({"GOOGLE_API_KEY": "k"}) is None
    with pytest.raises(UsageError, match="switch is unknown to gemini/"):
        gemini.load(NAME, options("http://localhost/v1", switch="none"))
