"""Intervals of values with bounds, whatever the values; and their coverage of a rate, exactly."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from harness.stats import estimate_mean

UNIT = (0.0, 1.0)

observation = st.tuples(st.integers(0, 12), st.floats(0, 1))
strata = st.lists(st.lists(observation, min_size=1, max_size=30), min_size=1, max_size=4)


@given(strata)
def test_the_interval_holds_the_mean_and_keeps_to_the_bounds(values):
    found = estimate_mean(values, UNIT)
    clusters = {cluster for stratum in values for cluster, _ in stratum}
    assert found.ci95 is not None or len(clusters) < 5
    if found.ci95:
        assert 0 <= found.ci95[0] <= found.value + 1e-9
        assert found.value - 1e-9 <= found.ci95[1] <= 1


@given(strata)
def test_the_order_of_episodes_and_tasks_does_not_matter(values):
    backwards = [stratum[::-1] for stratum in values[::-1]]
    one, other = (estimate_mean(each, UNIT).ci95 for each in (values, backwards))
    assert (one is None and other is None) or one == pytest.approx(other, abs=1e-6)


@given(st.lists(st.floats(0, 1), min_size=5, max_size=40), st.floats(-5, 5), st.floats(0.1, 10))
def test_the_unit_of_the_values_does_not_matter(values, shift, scale):
    found = estimate_mean([list(enumerate(values))], UNIT).ci95
    other = estimate_mean([[(i, shift + scale * value) for i, value in enumerate(values)]], (shift, shift + scale)).ci95
    assert other == pytest.approx([shift + scale * end for end in found], abs=1e-6 * scale)


@pytest.mark.parametrize("n", [5, 8, 12, 20, 30, 60, 100, 200])
def test_a_rate_of_independent_trials_is_covered_in_93_percent_whatever_it_is(n):
    ends = [estimate_mean([list(enumerate([1.0] * k + [0.0] * (n - k)))], UNIT).ci95 for k in range(n + 1)]
    low, high = np.array(ends).T[:, :, np.newaxis]
    rates = np.linspace(0.001, 0.999, 999)
    chances = scipy.stats.binom.pmf(np.arange(n + 1)[:, np.newaxis], n, rates)
    covered = (chances * ((low <= rates) & (rates <= high))).sum(axis=0)
    assert covered.min() >= 0.93
