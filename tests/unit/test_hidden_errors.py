"""Errors with status 200: which status they mean, and how long they ask us to wait."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.models.api.events import read_unasked
from harness.models.api.hidden_errors import asked_wait, find_hidden_error
from harness.models.api.transport import Response
from harness.models.api.wire import WireRequest


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        ({"error": {"code": 429, "message": "slow down"}}, 429),
        ({"error": {"code": "429", "message": "slow down"}}, 429),
        ({"error": {"code": "rate_limit_exceeded"}, "choices": []}, 429),
        ({"error": {"code": "1300", "type": "rate_limited"}}, 429),
        ({"error": {"type": "too_many_requests", "code": None}}, 429),
        ({"error": {"code": "Throttling.RateQuota"}}, 429),
        ({"error": {"status": "RESOURCE_EXHAUSTED"}}, 429),
        ({"error": "rate limit exceeded"}, 429),
        ([{"error": {"code": 503, "status": "UNAVAILABLE"}}], 503),
        ({"error": {"code": 524, "message": "timed out"}}, 524),
        ({"error": {"type": "overloaded_error"}, "type": "error"}, 529),
        ({"error": {"code": "server_error"}, "status": "failed", "output": []}, 500),
        ({"error": {"type": "upstream_error"}}, 502),
        ({"error": {"code": "request_timeout"}}, 504),
        ({"choices": [{"error": {"code": 502, "message": "upstream"}, "message": {"content": ""}}]}, 502),
        ({"object": "error", "message": "no", "code": 400}, 400),
        ({"error": {"code": "invalid_api_key", "type": "invalid_request_error"}}, 401),
        ({"error": {"code": "model_not_found", "type": "invalid_request_error"}}, 404),
        ({"error": {"type": "invalid_request_error", "code": None}}, 400),
        ({"error": {"code": "insufficient_quota"}}, 402),
        ({"error": {"message": "we do not know"}}, None),
        ({"error": {"message": "Error code: 429 - try later"}}, 429),
        ({"error": {"message": "502 Bad Gateway"}}, 502),
        ({"error": {"message": "Rate limit exceeded, slow down"}}, 429),
        ({"error": {"message": "The model is overloaded"}}, 503),
        ({"error": {"message": "no", "code": "503 Service Unavailable"}}, 503),
        ({"error": {"message": "Provider returned error", "metadata": {"code": 529}}}, 529),
        ({"error": {"error": {"code": "429"}}}, 429),
        ({"error": "busy", "status_code": "503"}, 503),
        ({"error_code": 429, "error_msg": "busy"}, 429),
        ({"code": "429", "message": "busy"}, 429),
        ({"status": 503, "title": "busy"}, 503),
        ({"detail": "Too many requests"}, 429),
        ({"success": False, "errors": [{"error": {"code": 429}}]}, 429),
        ({"errors": [{"code": 500, "message": "oh"}]}, 500),
        ({"choices": [{"message": {"role": "assistant", "error": {"code": 502}}}]}, 502),
        ({"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded"}}}, 429),
        ({"error": 429, "message": "slow"}, 429),
        ({"error": ["rate limit exceeded"]}, 429),
        ({"error": "Model m is currently loading", "estimated_time": 20.0}, 503),
        ({"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "too many queries"}, 429),
        ({"__type": "ThrottlingException", "message": "slow"}, 429),
        ({"data": {"error": {"code": 429}}}, 429),
        ({"base_resp": {"status_code": 1002, "status_msg": "rate limit"}, "choices": None}, 429),
        ({"base_resp": {"status_code": 0, "status_msg": ""}, "choices": [{"message": {"content": "hi"}}]}, None),
        ({"output": [], "status": "completed"}, None),
        ({"type": "message", "content": []}, None),
        ({"choices": None, "object": "chat.completion"}, None),
        ({"error": {"code": 0}}, None),
        ({"error": {"code": 200}}, None),
        ({"error": {"code": True}}, None),
        ({"error": None, "choices": [{"message": {"content": "error 429"}}]}, None),
        ({"choices": [{"message": {"content": '{"error": {"code": 429}}'}}]}, None),
    ],
)
def test_an_error_with_status_200_has_the_status_that_it_means(payload: Any, status: int | None) -> None:
    found = find_hidden_error(json.dumps(payload).encode())
    assert (found and found[0]) == status
    if found is not None:
        assert "error" in json.loads(found[1])


@pytest.mark.parametrize(
    "stream",
    [
        'data: {"error": {"code": 429, "message": "busy"}}\n\ndata: [DONE]\n\n',
        'event: error\ndata: {"type": "error", "error": {"type": "rate_limit_error"}}\n\n',
        ': OPENROUTER PROCESSING\n\ndata: {"error": {"code": "429"}, "choices": [{"finish_reason": "error"}]}\n\n',
    ],
)
def test_an_error_in_a_stream_that_nobody_asked_for(stream: str) -> None:
    found = read_unasked(WireRequest("/chat/completions", {}), Response(200, {}, stream.encode()))
    assert isinstance(found, Response)
    assert found.status == 429


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"message": "Rate limit reached. Please try again in 6.2s. Visit ..."}, 6.2),
        ({"message": "Please try again in 1m12.5s."}, 72.5),
        ({"message": "try again in 20ms"}, 0.02),
        ({"message": "Please retry in 34.07s."}, 34.07),
        ({"message": "Too many requests, retry after 5 seconds."}, 5.0),
        ({"message": "Please wait for 3 minutes"}, 180.0),
        ({"retry_after": 2}, 2.0),
        ({"retry_after": "2.5"}, 2.5),
        ({"retry_after_ms": 250}, 0.25),
        ({"metadata": {"retry_after_seconds": 7}}, 7.0),
        ({"metadata": {"headers": {"Retry-After": "3"}}}, 3.0),
        ({"details": [{"@type": "Help"}, {"@type": "RetryInfo", "retryDelay": "13s"}]}, 13.0),
        ({"message": "try again later"}, None),
        ({"message": "the model may retry in its own time"}, None),
        ({"retry_after": -1}, None),
        ({"retry_after": True}, None),
        ({"retry_after": "soon", "message": 5}, None),
        ({"retry_after": "nan"}, None),
    ],
)
def test_how_long_an_error_asks_to_wait(fields: Any, seconds: float | None) -> None:
    assert asked_wait(fields) == seconds if seconds is None else asked_wait(fields) == pytest.approx(seconds)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["error", "code", "choices"]), inner),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["error", "choices", "object", "metadata", "details", "retry_after"]), JSON))
def test_no_body_raises(payload: dict[str, Any]) -> None:
    found = find_hidden_error(json.dumps(payload).encode())
    assert found is None or found[0] in range(400, 600)
    assert (asked_wait(payload) or 0.0) >= 0
