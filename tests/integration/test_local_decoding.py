"""Penalties and filters of a local network against transformers' own."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from harness.models.local.decoding import keep_likely, penalise  # noqa: E402
from harness.types import Sampling  # noqa: E402

SIZE = 9
LOGITS = st.lists(st.floats(-6, 6, width=32), min_size=SIZE, max_size=SIZE).map(torch.tensor)
TOKENS = st.lists(st.integers(0, SIZE - 1), max_size=6)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={"top_p": st.sampled_from([0.01, 0.3, 0.9, 1.0]), "top_k": st.integers(1, 12), "min_p": st.floats(0, 1)},
)
WARPERS = {
    "top_k": transformers.TopKLogitsWarper,
    "top_p": transformers.TopPLogitsWarper,
    "min_p": transformers.MinPLogitsWarper,
}


@settings(deadline=None)
@given(LOGITS, OPTIONS)
def test_filters_are_those_of_transformers(logits, options):
    expected = logits[None]
    for name, warper in WARPERS.items():
        if name in options:
            expected = warper(options[name])(None, expected)
    assert torch.equal(keep_likely(logits, Sampling(1.0, **options)), expected[0])


@settings(deadline=None)
@given(LOGITS, TOKENS, TOKENS, st.floats(0.5, 2.0))
def test_the_repetition_penalty_is_that_of_transformers(logits, read, written, penalty):
    ids = torch.tensor([[*read, *written]], dtype=torch.long)
    expected = transformers.RepetitionPenaltyLogitsProcessor(penalty)(ids, logits[None].clone())[0]
    said = torch.tensor(written, dtype=torch.long)
    assert torch.equal(penalise(logits, read, said, Sampling(repetition_penalty=penalty)), expected)


def test_presence_and_frequency_count_what_was_written_alone():
    logits, written = torch.zeros(4), torch.tensor([1, 1, 2])
    asked = Sampling(presence_penalty=0.5, frequency_penalty=0.25)
    assert penalise(logits, [0, 3], written, asked).tolist() == [0.0, -1.0, -0.75, 0.0]
