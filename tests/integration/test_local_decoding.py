"""Penalties and filters of a local network against transformers' own."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from harness.models.local.decoding import exponential_waits, keep_likely, penalise  # noqa: E402
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


# --- noise -------------------------------------------------------------------------------------------------------


def test_a_rows_noise_is_its_own_whatever_the_batch():
    whole = exponential_waits([5, 6, 7], [3, 3, 3], 200_000, "cpu")
    assert torch.equal(whole[1], exponential_waits([6], [3], 200_000, "cpu")[0])
    assert torch.equal(whole[1, :100], exponential_waits([6, 5], [3, 9], 100, "cpu")[0])
    others = (exponential_waits([6], [4], 200_000, "cpu")[0], whole[0], whole[2])
    assert all(abs(float(torch.corrcoef(torch.stack([whole[1], one]))[0, 1])) < 0.01 for one in others)


def test_noise_is_exponential_and_its_least_is_a_draw():
    waits = exponential_waits(range(4000), [0] * 4000, 8, "cpu")
    assert waits.min() > 0
    assert waits.isfinite().all()
    assert abs(float(waits.mean()) - 1) < 0.03 and abs(float(waits.var()) - 1) < 0.06
    logits = torch.tensor([0.0, 1.0, 2.0, 3.0, -1.0, 0.5, 0.0, 2.5])
    drawn = (logits - waits.log()).argmax(dim=1).bincount(minlength=8) / 4000
    assert (drawn - logits.softmax(dim=0)).abs().max() < 0.03
