"""Ids of calls as providers want them: which rule a refusal names, and that call and result stay together."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.models.api.call_ids import NINE, PLAIN, IdRule, find_ids, fit_ids, read_id_rule

FORTY = IdRule()
CALL = IdRule(beginning="call_")
LONG = "chatcmpl-tool.7f/" + "a" * 40


@pytest.mark.parametrize(
    ("status", "said", "rule"),
    [
        (400, "Tool call id was call_0.1 but must be a-z, A-Z, 0-9, with a length of 9.", NINE),
        (400, "Tool call IDs should be alphanumeric strings with length 9!", NINE),
        (500, "TemplateError: Tool call IDs should be alphanumeric strings with length 9!", NINE),
        (400, "messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'", FORTY),
        (400, "Invalid 'messages[1].tool_calls[0].id': string too long. Expected a string with maximum length 40, but "
         "got a string with length 53 instead.", FORTY),
        (400, "Invalid 'input[2].call_id': string too long. Expected a string with maximum length 64, but got 70.",
         IdRule(longest=64)),
        (400, "tool_call_id contains invalid characters", FORTY),
        (422, "Tool call ids may only have letters, digits, underscores and hyphens", FORTY),
        (400, "tool_use.id must match ^[a-zA-Z0-9_-]{1,64}$", IdRule(longest=64)),
        (400, "The id of a tool call must be exactly 12 characters", IdRule(12, 12, "[A-Za-z0-9]")),
        (400, "Tool call id must not be longer than 20 characters", IdRule(longest=20)),
        (400, "call_id must start with 'call_'", IdRule(beginning="call_")),
        (400, "tool call id is too short: at least 16 characters", IdRule(shortest=16)),
        (400, "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
         "'tool_call_id'. The following tool_call_ids did not have response messages: a", None),
        (400, "No tool call found for function call output with call_id a.", None),
        (400, "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: a", None),
        (403, "Tool call id must be a-z", None),
        (400, "no", None),
    ],
)  # fmt: skip
def test_the_rule_that_a_refusal_names(status: int, said: str, rule: IdRule | None) -> None:
    assert read_id_rule(status, said) == rule


def bodies(ids: list[str]) -> list[dict[str, Any]]:
    """The same calls and results as three APIs write them."""
    chat = [{"role": "assistant", "content": None, "tool_calls": [{"id": one, "type": "function"} for one in ids]}]
    uses = [{"type": "tool_use", "id": one, "input": {"id": "kept", "call_id": "kept"}} for one in ids]
    results = [{"type": "tool_result", "tool_use_id": one, "content": "kept"} for one in ids]
    items = [{"type": "function_call", "id": "fc_kept", "call_id": one} for one in ids]
    return [
        {"messages": [*chat, *({"role": "tool", "tool_call_id": one, "content": "kept"} for one in ids)]},
        {"messages": [{"role": "assistant", "content": uses}, {"role": "user", "content": results}]},
        {"input": [*items, *({"type": "function_call_output", "call_id": one, "output": "kept"} for one in ids)]},
    ]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=12) | st.from_regex(r"[A-Za-z0-9]{9}", fullmatch=True), max_size=6, unique=True))
def test_ids_fit_and_go_on_belonging_together(ids: list[str]) -> None:
    for rule in (NINE, PLAIN, FORTY, IdRule(12, 12, "[A-Za-z0-9]"), IdRule(shortest=50, longest=60), CALL):
        for body in bodies(ids):
            fitted = fit_ids(body, rule)
            found = list(find_ids(fitted))
            assert all(map(rule.fits, found))
            assert found[: len(ids)] == found[len(ids) :]
            assert len(set(found)) == len(ids)
            assert [new for old, new in zip(ids, found, strict=False) if rule.fits(old)] == list(filter(rule.fits, ids))
            assert fit_ids(body, rule) == fitted
            assert str(fitted).count("kept") == str(body).count("kept")


def test_what_fits_is_sent_as_it_is() -> None:
    for body in bodies(["call_0_0", "toolu_01-A"]):
        assert fit_ids(body, PLAIN) is body


def test_a_strange_id_may_be_what_any_complaint_is_about() -> None:
    """Its own digits name no length."""
    said = "No tool output for tool call id call:9.31/12"
    assert read_id_rule(400, said, ["call_1"]) is None
    assert read_id_rule(400, said, ["call:9.31/12"]) == FORTY
    assert read_id_rule(400, f"Tool call id was {LONG} but must be at most 64 characters", [LONG]) == IdRule(longest=64)
