"""Intervals and tests against scipy where it has the same thing, and against closed forms."""

import math

import numpy as np
import pytest
import scipy.stats

from harness.stats import Estimate, estimate_mean
from results.comparison.significance import (
    bootstrap_interval,
    detectable_difference,
    holm_p,
    mcnemar_p,
    permutation_p,
    rate_interval,
)


def alone(values):
    """One stratum in which every value is a cluster."""
    return [list(enumerate(map(float, values)))]


def draws(n=40, seed=0, shift=0.3):
    return np.random.default_rng(seed).normal(shift, 1.0, n)


def test_strata_count_as_their_weights_say():
    one, other = [(f"a{i}", value) for i, value in enumerate(draws(9))], [(f"b{i}", -1.0 * i) for i in range(8)]
    assert permutation_p([one, other], weights=[2, 0]) == permutation_p([one])
    assert permutation_p([one, other], weights=[3, 1]) != permutation_p([one, other])
    for found in (permutation_p, bootstrap_interval):
        assert found([one, other], weights=[3, 3]) == pytest.approx(found([one, other]))
    low, high = bootstrap_interval([one, other], weights=[3, 1])
    assert low < estimate_mean([one, other], weights=[3, 1]).value < high


# --- against scipy -----------------------------------------------------------------------------------------------


def test_the_t_interval_of_paired_differences_is_scipys():
    a, b = draws(seed=1), draws(seed=2)
    theirs = scipy.stats.ttest_rel(b, a).confidence_interval(0.95)
    assert estimate_mean(alone(b - a)).ci95 == pytest.approx(tuple(theirs))


def test_few_pairs_are_permuted_exactly():
    x = draws(10)
    theirs = scipy.stats.permutation_test((x,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert permutation_p(alone(x)) == pytest.approx(theirs.pvalue)
    everything = [np.dot(signs, x) for signs in np.array(np.meshgrid(*[[-1, 1]] * 10)).reshape(10, -1).T]
    assert permutation_p(alone(x)) == np.mean(np.abs(everything) >= abs(x.sum()) - 1e-12)


def test_many_pairs_come_near_the_t_test():
    x = draws(200, shift=0.15)
    assert permutation_p(alone(x)) == pytest.approx(scipy.stats.ttest_1samp(x, 0).pvalue, abs=0.01)


def test_mcnemar_is_the_sign_test_of_what_flipped():
    assert mcnemar_p(9, 1) == scipy.stats.binomtest(9, 10).pvalue == pytest.approx(22 / 1024)
    assert mcnemar_p(0, 0) == 1.0


def test_equal_sums_count_as_large():
    flips = [1.0] * 9 + [-1.0] + [0.0] * 30
    assert permutation_p(alone(flips)) == mcnemar_p(9, 1) == 2 * (1 + 10) / 2**10  # ten of ten, and nine of ten
    assert permutation_p(alone([1.0] * 5)) == mcnemar_p(5, 0)


def test_wilson_has_its_closed_form():
    k, n, z = 7, 20, scipy.stats.norm.ppf(0.975)
    centre, reach = (k + z * z / 2) / (n + z * z), z * math.sqrt(k * (n - k) / n + z * z / 4) / (n + z * z)
    assert rate_interval(k, n) == pytest.approx((centre - reach, centre + reach))
    assert rate_interval(0, 0) is None


def test_the_bootstrap_of_normal_values_comes_near_scipys_and_students():
    x = draws(100)
    mine = bootstrap_interval(alone(x))
    theirs = scipy.stats.bootstrap((x,), np.mean, method="BCa", rng=np.random.default_rng(0)).confidence_interval
    assert mine == pytest.approx(tuple(theirs), abs=0.02)
    assert mine == pytest.approx(estimate_mean(alone(x)).ci95, abs=0.02)


# --- clusters and strata -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("statistic", [bootstrap_interval, permutation_p])
def test_repeats_within_a_cluster_add_nothing(statistic):
    x = draws(12)
    repeated = [[(cluster, value) for cluster, value in enumerate(x) for _ in range(5)]]
    assert statistic(repeated) == pytest.approx(statistic(alone(x)))


def test_strata_weigh_the_same():
    small, large = [(f"a{i}", 0.8 + 0.05 * i) for i in range(8)], [(i, 0.0) for i in range(30)]
    large[0] = (0, 0.3)
    low, high = bootstrap_interval([small, large])
    assert low < (0.975 + 0.01) / 2 < high
    by_hand = [value / 8 for _, value in small] + [value / 30 for _, value in large]
    assert permutation_p([small, large]) == permutation_p(alone(by_hand)) == 2 / 2**9


def test_clusters_that_reach_into_several_strata_move_together():
    x = draws(30)
    nested = [[(f"{part}{i}", v) for i, v in enumerate(x)] for part in "ab"]
    shared = [[(str(i), v) for i, v in enumerate(x)] for _ in "ab"]
    widths = [high - low for low, high in map(bootstrap_interval, (nested, shared))]
    assert widths[1] / widths[0] == pytest.approx(2**0.5, rel=0.1)
    assert bootstrap_interval(shared) == pytest.approx(bootstrap_interval(alone(x)))
    assert permutation_p(shared) == pytest.approx(permutation_p(alone(x)))


def test_the_same_values_give_the_same_digits_and_another_seed_does_not():
    x = alone(draws(50))
    for statistic in (bootstrap_interval, permutation_p):
        assert statistic(x) == statistic(x) != statistic(x, seed=1)


# --- where there is nothing to say -------------------------------------------------------------------------------


@pytest.mark.parametrize("strata", [[], [[]], [[("a", 1.0)], []]])
def test_no_values(strata):
    assert bootstrap_interval(strata) is None
    assert permutation_p(strata) is None


@pytest.mark.parametrize("values", [[0.4] * 12, [0.0] * 50, [0.0] * 49 + [1.0]])
def test_no_bootstrap_without_spread(values):
    assert bootstrap_interval(alone(values)) is None


def test_no_bootstrap_of_few_clusters_or_of_some_that_outweigh_the_rest():
    assert bootstrap_interval(alone(range(7))) is None
    assert bootstrap_interval(alone(range(8))) is not None
    assert bootstrap_interval([[(min(i, 10), float(i)) for i in range(20)]]) is None


def test_the_bootstrap_stays_within_the_bounds():
    values = alone([0.0] * 3 + [1.0] * 7)
    wide = bootstrap_interval(values)
    assert wide[1] > 1.0
    assert bootstrap_interval(values, bounds=(0.0, 1.0)) == (wide[0], 1.0)


def test_no_difference_is_p_one():
    assert permutation_p(alone([0.0, 0.0, 0.0])) == 1.0
    assert permutation_p([[("one", 1.0), ("one", 1.0)]]) == 1.0  # a single cluster says nothing


def test_p_is_never_zero():
    assert permutation_p(alone(np.linspace(1, 2, 100))) == 2 / 10_000


# --- several tests, and what could be seen -----------------------------------------------------------------------


def test_holm_by_hand():
    assert holm_p([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm_p([0.5, 0.9]) == [1.0, 1.0]
    assert holm_p([]) == []


def test_holm_keeps_false_alarms_of_a_family_at_five_percent():
    p = np.random.default_rng(0).random((4000, 5))
    assert 0.04 < np.mean([min(holm_p(row)) < 0.05 for row in p.tolist()]) < 0.06


def test_what_is_detectable_is_found_in_four_of_five_runs():
    n, spread = 60, 1.0
    source = np.random.default_rng(0)
    true = detectable_difference(Estimate(0.0, spread / math.sqrt(n), None, n, n - 1))
    p = scipy.stats.ttest_1samp(source.normal(true, spread, (4000, n)), 0, axis=1).pvalue
    assert 0.78 < np.mean(p < 0.05) < 0.82
    assert detectable_difference(Estimate(0.0, 0.0, None, 5)) is None
