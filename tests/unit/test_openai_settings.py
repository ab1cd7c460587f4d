"""What the command line and the environment make of openai/NAME, and that no secret is in what comes out."""

import base64
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.models import ModelOptions, load_model
from harness.models.api.connection import PLAIN_URL
from harness.models.api.endpoint import EndpointModel
from harness.models.api.openai import ARGS, dialect_of, load, read_settings, ready
from harness.redaction import Redactor, is_well_formed_url
from harness.types import Gold, Message, ModelRequest, Reasoning, Sample, Sampling


def options(
    base_url: str | None = None, environ: Mapping[str, str] | None = None, concurrency: int = 4, **args: str
) -> ModelOptions:
    return ModelOptions(args=args, base_url=base_url, concurrency=concurrency, environ=environ or {}, redact=Redactor())


def refusal(given: ModelOptions, name: str = "m") -> str:
    with pytest.raises(UsageError) as caught:
        load(name, given)
    return str(caught.value)


def test_the_client_is_not_imported_before_it_is_needed() -> None:
    program = "import sys, harness.models.api.openai; sys.exit('openai' in sys.modules or 'httpx2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_model_says_who_it_is() -> None:
    model = load("org/some-model", options("http://localhost:8000/v1", api_key="sk-12345678"))
    assert model.name == "openai/org/some-model"
    assert model.fingerprint == {
        "backend": "openai",
        "name": "org/some-model",
        "base_url": "http://localhost:8000/v1",
        "args": {},
    }


def test_a_fingerprint_holds_what_decides_replies_and_no_secret() -> None:
    given = options(
        "http://me:passw0rd@host/v1?key=qwertyuiop&api-version=3",
        extra_body='{"top_k": 1, "provider": {"api_key": "zxcvbnm123"}}',
        timeout="5",
        max_retries="1",
    )
    fingerprint = load("m", given).fingerprint
    assert fingerprint["base_url"] == "http://host/v1"
    assert fingerprint["args"] == {"extra_body": '{"top_k": 1, "provider": {"api_key": "[redacted]"}}'}


def test_a_key_is_demanded_of_openai_and_not_of_other_servers() -> None:
    assert "OPENAI_API_KEY" in refusal(options())
    assert "OPENAI_API_KEY" in refusal(options(environ={"OPENAI_API_KEY": " "}))
    assert read_settings("m", options("http://localhost/v1")).api_key == "no-key"
    assert read_settings("m", options(environ={"OPENAI_BASE_URL": "http://localhost/v1"})).api_key == "no-key"
    assert read_settings("m", options(environ={"OPENAI_API_KEY": "sk-env\n"})).api_key == "sk-env"
    assert read_settings("m", options(environ={"OPENAI_API_KEY": "sk-env"}, api_key="sk-arg")).api_key == "sk-arg"


def test_where_requests_go() -> None:
    environ = {"OPENAI_API_KEY": "sk-env", "OPENAI_BASE_URL": "http://env/v1"}
    assert read_settings("m", options(environ={"OPENAI_API_KEY": "sk-env"})).base_url == "https://api.openai.com/v1"
    assert read_settings("m", options(environ=environ)).base_url == "http://env/v1"
    settings = read_settings("m", options("https://given/v1?api-version=2&flag=", environ))
    assert settings.base_url == "https://given/v1"
    assert settings.query == {"api-version": "2", "flag": ""}


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://", "http://host:port/v1", "http://[::1/v1"])
def test_a_malformed_base_url_is_refused(url: str) -> None:
    assert "base URL" in refusal(options(url))


HOSTS = st.from_regex(r"[a-z0-9.]{1,12}", fullmatch=True) | st.sampled_from(["localhost", "xn--a", "127.0.0.1", "1"])
PATHS = st.lists(st.text("aZ0._~-%/", max_size=4) | st.sampled_from(["v1", ".", ".."]), max_size=4).map("/".join)


@given(st.sampled_from(["http", "https"]), HOSTS, st.sampled_from(["", ":80", ":443", ":8000", ":0", ":99999"]), PATHS)
def test_a_plain_url_is_what_httpx2_makes_of_it(scheme: str, host: str, port: str, path: str) -> None:
    url = f"{scheme}://{host}{port}/{path}"
    if PLAIN_URL.fullmatch(url) and is_well_formed_url(url):
        assert str(httpx2.URL(url)) == url


def test_an_unusual_url_is_brought_into_its_usual_form() -> None:
    unusual = {"HTTP://Host:80/v1/": "http://host/v1", "http://[::1]:8/a b".replace(" ", "%20"): "http://[::1]:8/a%20b"}
    for url, usual in {**unusual, "https://bücher.example/é": "https://xn--bcher-kva.example/%C3%A9"}.items():
        assert read_settings("m", options(url)).base_url == usual
    assert "is malformed: Invalid IDNA hostname" in refusal(options("http://-bücher/v1"))


def test_a_malformed_url_keeps_its_password() -> None:
    for url in ("http://me:pass/w0rd@host/v1", "me:pass/w0rd@host/v1", "ftp://me:pass/w0rd@host/v1"):
        assert "w0rd" not in refusal(options(url))


def test_userinfo_becomes_basic_auth_and_replaces_the_key_of_the_environment() -> None:
    settings = read_settings("m", options("http://me:p%40ss@host/v1", {"OPENAI_API_KEY": "sk-env"}))
    assert settings.headers == {"Authorization": f"Basic {base64.b64encode(b'me:p@ss').decode()}"}
    assert settings.base_url == "http://host/v1"
    assert settings.api_key == "no-key"


def test_userinfo_and_a_given_key_exclude_each_other() -> None:
    said = refusal(options("http://me:passw0rd@host/v1", api_key="sk-12345678"))
    assert "Authorization" in said
    assert "passw0rd" not in said
    assert "sk-12345678" not in said


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (
            {"apikey": "x"},
            "--model-arg apikey is unknown to openai/m; it knows api, api_key, client, extra_body, format",
        ),
        ({"timeout": "soon"}, "--model-arg timeout='soon' is not a number of seconds"),
        ({"timeout": "0"}, "timeout"),
        ({"timeout": "nan"}, "timeout"),
        ({"max_retries": "1.5"}, "--model-arg max_retries='1.5' is not a whole number of at least 0."),
        ({"max_retries": "-1"}, "max_retries"),
        ({"max_retry_wait": "inf"}, "max_retry_wait"),
        ({"extra_body": "{"}, "--model-arg extra_body must be a JSON object: invalid JSON"),
        ({"extra_body": "[1]"}, "not a JSON object"),
        ({"extra_body": '{"top_p": NaN}'}, "extra_body"),
        ({"extra_body": '{"stream": true}'}, "stream"),
        ({"api_key": "sk-ключ"}, "no header can hold"),
        ({"api": "rest"}, "--model-arg api='rest' is not one of auto, chat, responses."),
        ({"switch": "on"}, "--model-arg switch='on' is not one of template, effort, dashscope, openrouter, none."),
    ],
)
def test_arguments_are_refused_in_one_sentence(args: dict[str, str], expected: str) -> None:
    said = refusal(options("http://localhost/v1", **args))
    assert expected in said
    assert "\n" not in said


def test_arguments_are_read() -> None:
    args = {"timeout": "1.5", "max_retries": "7", "max_retry_wait": "0", "organization": "org-1", "project": "p-1"}
    settings = read_settings("m", options("http://localhost/v1", extra_body='{"top_k": 1}', **args))
    assert (settings.timeout, settings.max_retries, settings.max_retry_wait) == (1.5, 7, 0.0)
    assert (settings.organization, settings.project, settings.extra_body) == ("org-1", "p-1", {"top_k": 1})
    defaults = read_settings("m", options("http://localhost/v1"))
    assert (defaults.timeout, defaults.max_retries, defaults.max_retry_wait) == (600.0, 4, 60.0)


def test_an_empty_name_is_refused() -> None:
    assert "name of a model" in refusal(options("http://localhost/v1"), name=" ")


def test_every_secret_is_registered_at_load_and_shown_by_nothing() -> None:
    environ = {"OPENAI_API_KEY": "sk-from-environ", "OPENAI_CUSTOM_HEADERS": "X-Api-Key: gateway-key-1\nX-Team: blue"}
    given = options("http://me:passw0rd@host/v1?token=tok-99", environ, extra_body='{"auth": {"key": ["deep-one"]}}')
    model = load("m", given)
    for secret in ("sk-from-environ", "gateway-key-1", "passw0rd", "tok-99", "deep-one"):
        assert given.redact(secret) == "[redacted]"
        assert secret not in repr(model.fingerprint)
        assert secret not in repr(read_settings("m", given))
    assert given.redact("X-Team: blue") == "X-Team: blue"


def test_backoff_grows_is_capped_and_is_reproducible() -> None:
    def model(seed: int | None, **args: str) -> EndpointModel:
        loaded: Any = load("m", ModelOptions(args=args, base_url="http://localhost/v1", environ={}, seed=seed))
        assert isinstance(loaded, EndpointModel)
        return loaded

    def waits(seed: int | None, **args: str) -> list[float]:
        same = model(seed, **args)
        return [same._backoff(failed, None) for failed in (0, 1, 2, 3, 9, 5000)]

    assert waits(1) == waits(1) != waits(2)
    for seed in range(20):
        drawn = zip(waits(seed), (1, 2, 4, 8, 60, 60), strict=True)
        assert all(limit / 2 <= wait <= limit for wait, limit in drawn)
    assert waits(1, max_retry_wait="0") == [0.0] * 6
    assert model(0)._backoff(0, 30.0) == 30.0
    assert model(0)._backoff(0, 3000.0) == 60.0


def test_what_a_backend_declares() -> None:
    assert set(ARGS) == {
        *(
            "api",
            "api_key",
            "client",
            "extra_body",
            "format",
            "max_retries",
            "max_retry_wait",
            "organization",
            "project",
            "stream",
            "switch",
        ),
        "timeout",
    }
    assert ready({"OPENAI_API_KEY": "sk-1"}) is ready({"OPENAI_BASE_URL": "http://localhost/v1"}) is None
    missing = ready({"OPENAI_API_KEY": " "})
    assert missing == "no key: export OPENAI_API_KEY=KEY (for a server of your own, OPENAI_BASE_URL=URL)"


# --- which API, and which switch ---------------------------------------------------------------------------------


def path_of(name: str, base_url: str | None = None, **args: str) -> str:
    settings = read_settings(name, options(base_url, api_key="sk-12345678", **args))
    messages = (Message("user", "hello"),)
    request = ModelRequest(messages, (), Sampling(), Sample("s", messages, (), {}, Gold({})))
    return dialect_of(name, settings, args).make_request(request).path


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("gpt-4.1-mini", "/chat/completions"),
        ("gpt-5", "/chat/completions"),
        ("gpt-5.2", "/chat/completions"),
        ("gpt-5.3-chat-latest", "/chat/completions"),
        ("gpt-5.4", "/responses"),
        ("gpt-5.4-mini-2026-03-05", "/responses"),
        ("gpt-5.12", "/responses"),
        ("gpt-6-sol", "/responses"),
        ("o4-mini", "/chat/completions"),
    ],
)
def test_openais_later_models_go_to_responses_at_once(name: str, path: str) -> None:
    assert path_of(name) == path
    assert path_of(name, "https://eu.api.openai.com/v1") == path
    assert path_of(name, "http://localhost:8000/v1") == "/chat/completions"
    assert path_of(name, "https://api.openai.com.example/v1") == "/chat/completions"


def test_the_api_can_be_chosen() -> None:
    assert path_of("gpt-5.4", api="chat") == "/chat/completions"
    assert path_of("m", "http://localhost/v1", api="responses") == "/responses"


LOW_EFFORT = {"effort": "low"}
OFF, ON, LOW = Reasoning("off"), Reasoning("on"), Reasoning("on", effort="low")
TEMPLATE = "chat_template_kwargs"


@pytest.mark.parametrize(
    ("name", "base_url", "args", "off", "on", "low"),
    [
        ("gpt-5.2", None, {}, *({"reasoning_effort": effort} for effort in ("none", "medium", "low"))),
        (
            *("gpt-5.4", None, {}, {"reasoning": {"effort": "none"}}),
            *({"reasoning": {"effort": effort, "summary": "auto"}} for effort in ("medium", "low")),
        ),
        (
            *("qwen", "http://localhost/v1", {}, {TEMPLATE: {"enable_thinking": False}}),
            {TEMPLATE: {"enable_thinking": True}},
            {TEMPLATE: {"enable_thinking": True}, "reasoning_effort": "low"},
        ),
        (
            *("qwen", "http://localhost/v1", {"switch": "effort"}),
            *({"reasoning_effort": effort} for effort in ("none", "medium", "low")),
        ),
        ("qwen", "http://localhost/v1", {"switch": "none"}, {}, {}, {}),
        *(
            (
                "z/qwen",
                url,
                args,
                *({"reasoning": sent} for sent in ({"enabled": False}, {"enabled": True}, LOW_EFFORT)),
            )
            for url, args in (("https://openrouter.ai/api/v1", {}), ("http://localhost/v1", {"switch": "openrouter"}))
        ),
        ("gpt-4.1-mini", None, {}, {}, *({"reasoning_effort": effort} for effort in ("medium", "low"))),
        ("gpt-5.4", None, {"switch": "none"}, {}, {}, {}),
    ],
)
def test_one_reasoning_is_each_endpoints_own_switch(
    name: str, base_url: str | None, args: dict[str, str], off: Any, on: Any, low: Any
) -> None:
    model: Any = load(name, options(base_url, api_key="sk-12345678", **args))
    assert model.switch(Reasoning()) == {}
    assert [model.switch(reasoning) for reasoning in (OFF, ON, LOW)] == [off, on, low]


BUDGET = Reasoning("on", budget=2000)


@pytest.mark.parametrize(
    ("base_url", "args"),
    [
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", {}),
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", {}),
        ("http://localhost/v1", {"switch": "dashscope"}),
    ],
)
def test_dashscope_has_its_switch_at_the_top(base_url: str, args: dict[str, str]) -> None:
    model: Any = load("qwen3-max", options(base_url, api_key="sk-12345678", **args))
    switched = [model.switch(reasoning) for reasoning in (OFF, ON, BUDGET)]
    on = {"enable_thinking": True}
    assert switched == [{"enable_thinking": False}, on, {**on, "thinking_budget": 2000}]
    with pytest.raises(UsageError, match="takes a budget, not an effort, on this endpoint: use on or budget:N"):
        model.switch(LOW)


def test_an_endpoint_is_told_by_its_whole_host() -> None:
    for host in ("dashscope.aliyuncs.com.example", "xopenrouter.ai", "openrouter.ai.example", "aliyuncs.com"):
        model: Any = load("qwen", options(f"https://{host}/v1"))
        assert model.switch(OFF) == {TEMPLATE: {"enable_thinking": False}}
    router: Any = load("z/qwen", options("https://openrouter.ai/api/v1"))
    assert router.switch(BUDGET) == {"reasoning": {"max_tokens": 2000}}


@pytest.mark.parametrize(
    "name",
    [
        *("openai/gpt-4o", "openai/gpt-4.1-nano", "openai/chatgpt-4o-latest", "openai/gpt-3.5-turbo"),
        *("openai/ft:gpt-4o-mini:x", "gemini/gemini-2.0-flash", "anthropic/claude-3-5-haiku-20241022"),
    ],
)
def test_models_that_do_not_think_have_nothing_to_switch_off(name: str) -> None:
    assert load_model(name, options(api_key="sk-12345678")).switch(OFF) == {}


@pytest.mark.parametrize("base_url", [None, "http://localhost/v1"])
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_budget_is_refused_where_there_are_efforts_only(base_url: str | None, api: str) -> None:
    model: Any = load("m", options(base_url, api_key="sk-12345678", api=api))
    with pytest.raises(UsageError) as caught:
        model.switch(Reasoning("on", budget=2000))
    assert str(caught.value) == "openai/m takes an effort, not a budget: use low, medium or high."


@pytest.mark.parametrize("name", ["o3", "o4-mini", "gpt-5", "gpt-5-mini-2025-08-07"])
def test_models_that_always_reason_cannot_be_turned_off(name: str) -> None:
    model: Any = load(name, options(api_key="sk-12345678"))
    with pytest.raises(UsageError, match="always reasons: its reasoning cannot be turned off, use low"):
        model.switch(OFF)
    assert model.switch(LOW) == {"reasoning_effort": "low"}


def test_extra_body_must_not_undo_the_switch() -> None:
    given = options("http://localhost/v1", extra_body='{"chat_template_kwargs": {"enable_thinking": true, "x": 1}}')
    model: Any = load("m", given)
    assert model.switch(Reasoning()) == {}
    with pytest.raises(UsageError) as caught:
        model.switch(OFF)
    assert str(caught.value) == (
        "--model-arg extra_body sets chat_template_kwargs.enable_thinking, and so does --reasoning: give one of them."
    )
    other: Any = load("m", options("http://localhost/v1", extra_body='{"chat_template_kwargs": {"x": 1}}'))
    assert other.switch(OFF) == {TEMPLATE: {"enable_thinking": False}}
