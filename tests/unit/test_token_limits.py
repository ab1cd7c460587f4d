"""What servers say when a request asks for more new tokens than they give, in their own words."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.models.api.token_limits import asked_tokens, read_token_limit

OPENAI = "This model's maximum context length is"


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        # the prompt and the context are named: what is left
        (f"{OPENAI} 4096 tokens. However, you requested 8236 tokens (44 in the messages, 8192 in the completion). "
         "Please reduce the length of the messages or completion.", (4052, 4096)),
        (f"{OPENAI} 4097 tokens, however you requested 8236 tokens (44 in your prompt; 8192 for the completion). "
         "Please reduce your prompt; or completion length.", (4053, 4097)),
        (f"{OPENAI} 8192 tokens. However, you requested 8340 tokens (64 in the messages, 84 in the functions, and 8192 "
         "in the completion).", (8044, 8192)),
        ("This endpoint's maximum context length is 4096 tokens. However, you requested about 8336 tokens (44 of text "
         "input, 100 of tool input, 8192 in the output).", (3952, 4096)),
        ("The sum of input tokens and max_tokens (44 + 8192) exceeds the maximum context length of 4096", (4052, 4096)),
        ("Prompt length 44 + max_tokens 8192 is greater than max_seq_len 4096", (4052, 4096)),
        ("Current length is 8236 while limit is 4096. Please reduce the length of the messages or completion.",
         (4052, 4096)),
        ("Requested generation length 8192 is not possible! The provided prompt is 44 tokens long, so generating 8192 "
         "tokens requires a sequence length of 8236, but the maximum supported sequence length is just 4096!",
         (4052, 4096)),
        ("the number of input tokens 44 plus prefix length 0 plus max new tokens 8192 cannot exceed the total tokens "
         "limit 4096 for this model", (4052, 4096)),
        ("Invalid request: Your request exceeded model token limit: 4096 (requested: 8236)", (4052, 4096)),
        ("'max_tokens' or 'max_completion_tokens' is too large: 8192. This model's maximum context length is 4096 "
         "tokens and your request has 44 input tokens (8192 > 4096 - 44).", (4052, 4096)),
        ("You passed 44 input tokens and requested 8192 output tokens. However, the model's context length is only "
         "4096 tokens, resulting in a maximum input length of 1 tokens.", (4052, 4096)),
        ("Requested token count exceeds the model's maximum context length of 65,536 tokens. You requested a total of "
         "67,298 tokens: 59,106 tokens from the input messages and 8,192 tokens for the completion. Please reduce the "
         "number of tokens in the input messages or the completion to fit within the limit.", (6430, 65536)),
        ("input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000, decrease input length or "
         "`max_tokens` and try again", (1000, 200000)),
        ("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 1512. Given: 1000 `inputs` tokens and "
         "8192 `max_new_tokens`", (512, 1512)),
        ("This endpoint's maximum context length is 4096 tokens. However, you requested about 8236 tokens (44 of text "
         "input, 8192 in the output). Please reduce the length of either one.", (4052, 4096)),
        ("Prompt (44) plus max_tokens (8192) exceeds the context window (4096)", (4052, 4096)),
        ("prompt tokens (44) + n_predict (8192) > n_ctx (4096)", (4052, 4096)),
        ("the sum of prompt tokens and max_tokens must not exceed 4096, got 44 + 8192", (4052, 4096)),
        # the prompt alone does not fit
        ("The input (5000 tokens) is longer than the model's context length (4096 tokens).", (0, 4096)),
        ('{"message": "the request exceeds the available context size", "type": "exceed_context_size_error", '
         '"n_prompt_tokens": 5000, "n_ctx": 4096}', (0, 4096)),
        (f"{OPENAI} 4096 tokens. However, you requested 13192 tokens (5000 in the messages, 8192 in the completion).",
         (0, 4096)),
        ('{"error":{"code":400,"message":"request (9000 tokens) exceeds the available context size (4096 tokens), try '
         'increasing it","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":4096}}', (0, 4096)),
        ("Prompt contains 40000 tokens, too large for model with 32768 maximum context length", (0, 32768)),
        # the context is named, the prompt is not, or only so far as it was counted
        ("max_tokens=8192 cannot be greater than max_model_len=max_total_tokens=4096. Please request fewer output "
         "tokens.", (2048, 4096)),
        ("max_completion_tokens=8192 cannot be greater than max_model_len=4096", (2048, 4096)),
        ("Requested tokens (8236) exceed context window of 4096", (2048, 4096)),
        ("n_predict 8192 is too large for context n_ctx 4096", (2048, 4096)),
        ("max_total_tokens must be <= 4096", (2048, 4096)),
        ("you asked for more tokens than the context can hold (8236 > 4096)", (2048, 4096)),
        (f"{OPENAI} 12288 tokens. However, you requested 8192 output tokens and your prompt contains at least 4097 "
         "input tokens, for a total of at least 12289 tokens. Please reduce the length of the input prompt or the "
         "number of requested output tokens.", (4096, 12288)),
    ],
)  # fmt: skip
def test_what_a_context_leaves(said: str, limit: tuple[int, int]) -> None:
    found = read_token_limit(400, said, 8192)
    assert found is not None
    assert (found.room, found.context, found.output) == (*limit, None)
    assert found.usable is (limit[0] > 0)


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        ("max_tokens is too large: 8192. This model supports at most 4096 completion tokens, whereas you provided "
         "8192.", 4096),
        ("max_completion_tokens is too large: 8192.This model supports at most 4096 completion tokens", 4096),
        ("Invalid 'max_output_tokens': integer above maximum value. Expected a value <= 4096, but got 8192 instead.",
         4096),
        ("max_tokens: 8192 > 4096, which is the maximum allowed number of output tokens for claude-3-haiku-20240307",
         4096),
        ("`max_tokens` must be less than or equal to `4096`, the maximum value for `max_tokens` is less than the "
         "`context_window` for this model", 4096),
        ("Invalid max_tokens value, the valid range of max_tokens is [1, 4096]", 4096),
        ("<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 2000]", 2000),
        ("The maximum tokens you requested exceeds the model limit of 4096. Try again with a maximum tokens value that "
         "is lower than 4096.", 4096),
        ("too many tokens: max tokens must be less than or equal to 4096, the maximum output length for this model - "
         "received 8192", 4096),
        ("Unable to submit request because it has a maxOutputTokens value of 8192 but the supported range is from 1 "
         "(inclusive) to 8191 (exclusive).", 8190),
        ("Input validation error: `max_new_tokens` must be <= 512. Given: 8192", 512),
        ("max_tokens above 4,096 is not allowed: the limit is 4,096", 4096),
        ("n_predict exceeds the limit of 2048", 2048),
        ("maxTokens must not exceed 4096", 4096),
        ("max_tokens must be between 1 and 4096", 4096),
        ("max_tokens must be in the range 1 to 4096", 4096),
        ("Generation length 8192 is over the cap of 4096 tokens", 4096),
        ("The model's output limit is 4k tokens", 4000),
        ("max_tokens: Input should be less than or equal to 4096", 4096),
        ("Malformed input request: #/max_gen_len: 8192 is not less or equal to 2048, please reformat", 2048),
        ("max_new_tokens must be in [0, 1547], got 8192.", 1547),
        ("max_tokens should be less than 8192", 8191),
        ("Range of max_tokens should be [1,512]", 512),
        ("invalid params, tokens_to_generate exceeds 4096", 4096),
        ("max_tokens 参数超过最大值 4095", 4095),
        # none is named
        ("The requested number of tokens is too large", 4096),
        ("max_tokens is too large", 4096),
        ("Invalid value for 'max_tokens': 8192 exceeds what this model can generate.", 4096),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [400, 422])
def test_the_most_that_a_model_says(said: str, limit: int, status: int) -> None:
    found = read_token_limit(status, json.dumps({"error": {"message": said}}, ensure_ascii=False), 8192)
    assert found is not None
    assert (found.output, found.room) == (limit, None)


@pytest.mark.parametrize(
    "said",
    [
        "prompt is too long: 210000 tokens > 200000 maximum",
        "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
        "Your input exceeds the context window of this model",
        f"{OPENAI} 4096 tokens. However, you requested 5000 tokens.",
        "`inputs` must have less than 1024 tokens. Given: 2000",
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "`max_tokens` must be greater than `thinking.budget_tokens`.",
        "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 1 instead.",
        "Requests with max_tokens > 4096 must have stream=true",
        "Rate limit: 30000 output tokens per minute",
        "Unknown model max_tokens",
        "Could not finish the message because max_tokens or model output limit was reached. Please try again with "
        "higher max_tokens.",
        "no",
    ],
)
def test_what_is_about_something_else(said: str) -> None:
    assert read_token_limit(400, said, 8192) is None


@pytest.mark.parametrize("said", ["the request exceeds the available context size", "max_tokens is too large"])
def test_where_no_limit_is_named_it_is_halved_so_far(said: str) -> None:
    asked, tried = 8192, list[int]()
    while (found := read_token_limit(400, said, asked)) is not None and found.usable:
        tried.append(asked := found.output or found.room or 0)
    assert tried == [4096, 2048, 1024, 512, 256]


def test_only_a_refusal_of_a_number_is_read() -> None:
    said = "max_tokens is too large: 8192. This model supports at most 4096 completion tokens"
    assert read_token_limit(429, said, 8192) is None
    assert read_token_limit(400, said, None) is None
    assert [asked_tokens(body) for body in ({"max_output_tokens": 5}, {"max_tokens": None}, {})] == [5, None, None]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30), st.integers(1, 10**6), st.integers(0, 10**6), st.sampled_from([
    "max_tokens is too large, at most {}", "maximum context length is {} tokens {}", "{} + 1 > {}", "{} input tokens",
    "max_model_len={} max_tokens={}",
]))  # fmt: skip
def test_a_limit_never_asks_for_more(words: str, asked: int, number: int, shape: str) -> None:
    said = read_token_limit(400, words + shape.format(number, number), asked)
    if said is not None and said.output is not None:
        assert said.output < asked
    assert said is None or said.room is None or said.room >= 0


def test_behind_a_500_there_has_to_be_a_number() -> None:
    assert read_token_limit(500, "Requested tokens (8236) exceed context window of 4096", 8192) is not None
    assert read_token_limit(500, "max_tokens must be at most 4096", 8192) is not None
    assert read_token_limit(500, "max_tokens is too large", 8192) is None
