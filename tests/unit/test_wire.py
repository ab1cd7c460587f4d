"""What all APIs share on the wire: what an error means, which parameter was refused, how long to wait."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.models.api.wire import (
    RequestFailure,
    failure_of_status,
    refused_content,
    refused_zero,
    retry_after,
    without_escapes,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def shaped(*keys: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(keys), JSON, max_size=len(keys))


def openai_error(message: str, code: str | None = None, param: str | None = None) -> str:
    return json.dumps({"error": {"message": message, "type": "invalid_request_error", "code": code, "param": param}})


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
def test_limits_and_server_errors_are_retried(status: int) -> None:
    failure = failure_of_status(status, {"retry-after": "7"}, openai_error("busy"))
    assert failure == RequestFailure(f"http_{status}", f"HTTP {status}: busy", wait=7.0)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_refusals_are_final(status: int) -> None:
    failure = failure_of_status(status, {}, openai_error("no"))
    assert failure == RequestFailure(f"http_{status}", f"HTTP {status}: no", "model_error", retry=False)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, openai_error("You exceeded your quota", "insufficient_quota")),
        (402, "Pay first"),
        (400, openai_error("Your credit balance is too low to access the Anthropic API.")),
        (400, '{"error": {"code": "Arrearage", "message": "Access denied."}}'),
        (403, '{"error": "Your team has either used all available credits or reached its monthly spending limit."}'),
    ],
)
def test_an_exhausted_quota_is_not_retried(status: int, body: str) -> None:
    failure = failure_of_status(status, {"retry-after": "7"}, body)
    assert (failure.stop, failure.outcome, failure.retry) == ("insufficient_quota", "infrastructure_error", False)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, openai_error("Your input exceeds the limit", "context_length_exceeded")),
        (400, openai_error("This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.")),
        (
            400,
            '{"object": "error", "message": "\'max_tokens\' or \'max_completion_tokens\' is too large: 8192. This'
            ' model\'s maximum context length is 4096 tokens and your request has 12 input tokens", "code": 400}',
        ),
        (400, openai_error("The input (5000 tokens) is longer than the model's context length (4096 tokens).")),
        (400, openai_error("the request exceeds the available context size, try increasing it")),
        (422, '{"error": "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000", "error_type": "v"}'),
        (400, openai_error("prompt is too long: 200001 tokens > 200000 maximum")),
        (400, openai_error("The input token count (9) exceeds the maximum number of tokens allowed (8).")),
        (400, openai_error("Please reduce the length of the messages or completion.")),
        (413, "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"),
        (422, '{"error": "Input validation error: `inputs` must have less than 1024 tokens. Given: 2500"}'),
        (400, openai_error("InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]")),
        (400, openai_error("The sum of prompt length (2500.0), query length (0) should not exceed max_num_tokens (2)")),
        (400, openai_error("Could not finish the message because max_tokens or model output limit was reached.")),
    ],
)
def test_a_prompt_that_does_not_fit_is_a_token_limit(status: int, body: str) -> None:
    failure = failure_of_status(status, {}, body)
    assert (failure.stop, failure.outcome, failure.retry) == ("context_length", "token_limit", False)
    assert failure.refused is None


@pytest.mark.parametrize(
    ("status", "body", "refused"),
    [
        (
            400,
            openai_error("Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.", "unsupported_parameter", "max_tokens"),
            "max_tokens",
        ),
        (
            400,
            openai_error("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
            "max_tokens",
        ),
        (
            400,
            openai_error("'temperature' does not support 0.0 with this model.", "unsupported_value", "temperature"),
            "temperature",
        ),
        (400, openai_error("Unrecognized request argument supplied: seed"), "seed"),
        (422, '{"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "not permitted"}]}', "seed"),
        (400, openai_error("Unrecognized request argument supplied: reasoning_effort"), "reasoning_effort"),
        (400, openai_error("enable_thinking is not supported by this template"), "chat_template_kwargs"),
        (400, openai_error("'messages.2': property 'reasoning' is unsupported"), "messages.reasoning"),
        (400, openai_error("Unsupported parameter: 'tools'"), None),
        (400, openai_error("max_tokens is too large: this model supports at most 16384 completion tokens"), None),
        (404, openai_error("Unknown model max_tokens"), None),
    ],
)  # fmt: skip
def test_refused_parameters_are_recognised(status: int, body: str, refused: str | None) -> None:
    assert failure_of_status(status, {}, body).refused == refused


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (openai_error("wrong"), "wrong"),
        ('{"message": "wrong", "object": "error"}', "wrong"),
        ('{"detail": "wrong"}', "wrong"),
        ('{"error": "wrong"}', "wrong"),
        ('{"error": {"message": "Provider failed", "metadata": {"raw": "{\\"message\\": \\"wrong\\"}"}}}',
         "Provider failed: wrong"),
        ('{"error": {"message": "Provider failed", "metadata": {"raw": {"error": {"message": "wrong"}}}}}',
         "Provider failed: wrong"),
        ('{"error": {"message": "Provider failed", "metadata": {"raw": "wrong"}}}', "Provider failed: wrong"),
        ('{"error": {"message": "it is wrong", "metadata": {"raw": "wrong"}}}', "it is wrong"),
        ('{"detail": [{"msg": "wrong"}]}', '{"detail": [{"msg": "wrong"}]}'),
        ("wrong", "wrong"),
        ("", "no message"),
        ("[" * 100_000, "[" * 100_000),
    ],
)  # fmt: skip
def test_the_providers_words_are_found(body: str, said: str) -> None:
    assert failure_of_status(403, {}, body).text == f"HTTP 403: {said}"


@pytest.mark.parametrize("text", ["5 > 4", '\u2265 \\ " \n \x00 \U0001f600 \u8d85', "b \\u003c", "\\", ""])
def test_letters_that_a_writer_escaped_are_read(text: str) -> None:
    escaped = json.dumps({"said": text}).replace(">", "\\u003e")
    read = without_escapes(escaped)
    assert json.loads(read) == {"said": text.replace("\\u003c", "<")}
    assert all(letter in read for letter in text if letter in ">\u2265\u8d85")


@settings(max_examples=100, deadline=None)
@given(
    st.integers(400, 599), JSON | st.fixed_dictionaries({"error": JSON | shaped("code", "type", "param", "message")})
)
def test_no_error_body_raises(status: int, payload: Any) -> None:
    assert failure_of_status(status, {}, json.dumps(payload)).text.startswith(f"HTTP {status}: ")


NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT"}, 30.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:50 -0000"}, 30.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:00:00 GMT"}, 0.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1, 2"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


@given(st.text(max_size=40) | st.from_regex(re.compile(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ [+-]?\d*", re.ASCII)))
def test_no_header_raises(value: str) -> None:
    wait = retry_after({"retry-after": value, "retry-after-ms": value}, NOW)
    assert wait is None or wait >= 0


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ("`temperature` must be strictly positive", "temperature=0.01"),
        ("Input validation error: `temperature` must be strictly positive", "temperature=0.01"),
        ("temperature must be greater than 0", "temperature=0.01"),
        ("Invalid temperature: must be > 0", "temperature=0.01"),
        ("Temperature should be in (0.0, 2.0)", "temperature=0.01"),
        ("temperature should not be 0", "temperature=0.01"),
        ("`temperature` (=0.0) has to be a strictly positive float", "temperature=0.01"),
        ("Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is "
         "supported.", "temperature"),
        ("invalid temperature: only 1 is allowed for this model", "temperature"),
        ("temperature must be between 0.05 and 1", "temperature=0.05"),
        ("`temperature` should be >= 0.1", "temperature=0.1"),
        ("temperature: must be greater than or equal to 0.2", "temperature=0.2"),
        ("temperature has to be in the range (0, 1]", "temperature=0.01"),
        ("temperature 0 is not supported", "temperature=0.01"),
        ("Invalid value for temperature", "temperature=0.01"),
        ("Unsupported parameter: 'temperature' is not supported with this model.", "temperature"),
        ("temperature must be 1 with this model", "temperature"),
        ("The temperature is fixed: must be 1.0", "temperature"),
        ("temperature: 0 is not one of [1]", "temperature"),
        ("This model requires temperature 1.0", "temperature"),
        ("temperature is not configurable for this model", "temperature"),
        ("temperature: 0.0 is less than the minimum of 1e-05", "temperature=1e-05"),
        ("greedy decoding (temperature=0) is disabled", "temperature=0.01"),
        ("do_sample requires temperature > 0", "temperature=0.01"),
        ("tools[0].function.parameters: temperature must be a string", None),
        ("the tool 'get_temperature' is unknown", None),
        ("messages must not be empty", None),
    ],
)  # fmt: skip
def test_a_temperature_of_zero_is_refused_in_many_words(said: str, refused: str | None) -> None:
    assert refused_zero(400, openai_error(said)) == refused
    assert refused_zero(429, openai_error(said)) is None


def test_a_temperature_is_refused_by_its_parameter() -> None:
    assert refused_zero(400, openai_error("must be greater than 0", param="temperature")) == "temperature=0.01"
    found = '{"detail": [{"loc": ["body", "temperature"], "msg": "Input should be greater than 0"}]}'
    assert refused_zero(422, found) == "temperature=0.01"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "Invalid value for 'content': expected a string, got null."),
        (400, "'messages.2.content' : value must be a string"),
        (422, '{"detail": [{"type": "string_type", "loc": ["body", "messages", 1, "content"], "input": null}]}'),
        (400, "All non-assistant messages must contain 'content'"),
        (400, "Failed to deserialize the JSON body: messages[2]: invalid type: null, expected a string"),
        (400, "The content field in the Message object at messages.1 is empty. Add a ContentBlock object."),
        (400, "text content blocks must be non-empty"),
        (500, "TypeError: argument of type 'NoneType' is not iterable"),
        (500, 'can only concatenate str (not "NoneType") to str'),
    ],
)
def test_an_empty_content_is_refused_in_many_words(status: int, said: str) -> None:
    assert refused_content(status, said) == "messages.content"


def test_an_error_of_the_server_may_be_the_contents_doing() -> None:
    assert refused_content(500, "Internal Server Error") == "messages.content?"
    assert refused_content(400, "Bad request") == "messages.content?"
    assert refused_content(400, openai_error("Invalid message format")) == "messages.content?"
    assert refused_content(400, "no") is None
    assert refused_content(503, "NoneType") is None
