"""What the figures promise, by simulation: intervals cover in 95 % of draws, tests reject a true null in 5 %.

2,000 seeded draws each; the spread of such a share is 0.5 percentage points. benchmarks/coverage.py has the whole grid,
of which some cells are here.
"""

import numpy as np
import pytest
import scipy.stats

from harness.stats import estimate_mean
from results.comparison.significance import bootstrap_interval, mcnemar_p, permutation_p, rate_interval

DRAWS = 2000
RESAMPLES = 399
ALONE = np.arange(100)


def normal(source, n):
    return source.normal(0.2, 1.0, n)


def skewed(source, n):
    """Scores that are mostly low: skewness 1.05."""
    return source.beta(1, 4, n)


def exponential(source, n):
    """Skewness 2."""
    return source.exponential(0.2, n)


def flips(source, n):
    """Differences of a binary metric: 15 % turn right, 5 % wrong."""
    return source.choice([-1.0, 0.0, 1.0], n, p=[0.05, 0.75, 0.20]) + 0.05


def clustered(source, n):
    """Worlds of one to three episodes that share a shift: (cluster, value) by two arrays."""
    worlds = np.repeat(np.arange(n), source.integers(1, 4, n))
    return worlds, source.normal(0.2, 1.0, n)[worlds] + source.normal(0, 1.0, len(worlds))


def t_interval(clusters, values):
    return estimate_mean([list(zip(clusters.tolist(), values.tolist(), strict=True))]).ci95


def bootstrap(clusters, values):
    return bootstrap_interval([list(zip(clusters.tolist(), values.tolist(), strict=True))], resamples=RESAMPLES)


def coverage(interval, sample, n):
    source, hits = np.random.default_rng(7), 0
    for _ in range(DRAWS):
        drawn = sample(source, n)
        clusters, values = drawn if isinstance(drawn, tuple) else (ALONE[:n], drawn)
        low, high = interval(clusters, values)
        hits += low <= 0.2 <= high
    return hits / DRAWS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("interval", "sample", "n"),
    [
        *((t_interval, sample, 50) for sample in (normal, skewed, flips, clustered)),
        (t_interval, exponential, 100),
        *((bootstrap, sample, 50) for sample in (normal, skewed, exponential, flips, clustered)),
    ],
    ids=lambda part: getattr(part, "__name__", part),
)
def test_intervals_cover_as_often_as_they_say(interval, sample, n):
    assert 0.93 <= coverage(interval, sample, n) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize(
    "whole", [lambda strata: estimate_mean(strata).ci95, lambda strata: bootstrap_interval(strata, resamples=399)]
)
def test_macro_means_cover_whatever_the_sizes_of_their_tasks(whole):
    source, hits = np.random.default_rng(3), 0
    for _ in range(DRAWS):
        strata = [list(enumerate(source.normal(mean, 1.0, n).tolist(), mean)) for mean, n in ((0, 8), (100, 50))]
        low, high = whole(strata)
        hits += low <= 50 <= high
    assert 0.93 <= hits / DRAWS <= 0.97


@pytest.mark.parametrize(("n", "rate"), [(50, 0.2), (50, 0.3), (50, 0.5), (100, 0.1), (200, 0.1), (200, 0.9)])
def test_wilson_covers(n, rate):
    """Exactly: the chance of the counts whose interval holds the rate."""
    covered = [k for k in range(n + 1) if rate_interval(k, n)[0] <= rate <= rate_interval(k, n)[1]]
    assert 0.93 <= scipy.stats.binom.pmf(covered, n, rate).sum() <= 0.97


# --- paired tests ------------------------------------------------------------------------------------------------


def both_normal(source, n, shift):
    """Two runs on the same samples: most of the spread is the samples' own."""
    own = source.normal(0, 1.0, n)
    return own + source.normal(0, 0.5, n), own + shift * 0.5 + source.normal(0, 0.5, n)


def both_skewed(source, n, shift):
    own = source.exponential(0.4, n)
    return own + source.exponential(0.2, n), own + shift * 0.2 + source.exponential(0.2, n)


def both_binary(source, n, shift):
    """Hard samples stay hard: right with the sample's own chance."""
    own = source.beta(0.7, 0.7, n)
    return (source.random(n) < own) * 1.0, (source.random(n) < np.minimum(1, own + shift * 0.3)) * 1.0


def permutation(a, b):
    return permutation_p([list(zip(ALONE.tolist(), (b - a).tolist(), strict=False))], resamples=RESAMPLES)


def t_test(a, b):
    """Whether zero is outside of the clustered t interval, as a p on its side of .05."""
    low, high = t_interval(ALONE[: len(a)], b - a)
    return 1.0 if low <= 0 <= high else 0.0


def by_bootstrap(a, b):
    low, high = bootstrap(ALONE[: len(a)], b - a)
    return 1.0 if low <= 0 <= high else 0.0


def mcnemar(a, b):
    return mcnemar_p(int((b > a).sum()), int((b < a).sum()))


def rejections(test, sample, n, shift, draws=DRAWS):
    source = np.random.default_rng(11)
    return np.mean([test(*sample(source, n, shift)) < 0.05 for _ in range(draws)])


@pytest.mark.slow
@pytest.mark.parametrize("sample", [both_normal, both_skewed, both_binary])
@pytest.mark.parametrize("test", [permutation, t_test, by_bootstrap])
def test_a_true_null_is_rejected_in_one_of_twenty(test, sample):
    n = 100 if sample is both_binary else 50  # few flips give few different p, and equal sums count as large
    least = 0.02 if (test, sample) == (permutation, both_binary) else 0.035
    assert least <= rejections(test, sample, n, 0.0) <= 0.065


def test_mcnemar_rejects_a_true_null_no_more_often_than_it_says():
    for n in (50, 100):
        assert rejections(mcnemar, both_binary, n, 0.0) <= 0.055


@pytest.mark.slow
@pytest.mark.parametrize("sample", [both_normal, both_skewed, both_binary])
@pytest.mark.parametrize("test", [permutation, t_test, by_bootstrap])
def test_pairs_see_more_than_two_samples(test, sample):
    def unpaired(a, b):
        return scipy.stats.ttest_ind(a, b, equal_var=False).pvalue

    n, shift = (100, 0.5) if sample is both_binary else (60, 0.4)
    assert rejections(test, sample, n, shift, 500) > rejections(unpaired, sample, n, shift, 500) + 0.1


@pytest.mark.slow
def test_episodes_of_one_world_are_not_counted_as_independent():
    """Whole worlds change their sign: rejected in one of twenty, where episodes alone would be in one of five."""
    source, clustered_p, naive_p = np.random.default_rng(5), [], []
    for _ in range(DRAWS):
        worlds = np.repeat(np.arange(25), 4)
        values = (source.normal(0, 1.0, 25)[worlds] + source.normal(0, 1.0, 100)).tolist()
        clustered_p.append(permutation_p([list(zip(worlds.tolist(), values, strict=True))], resamples=RESAMPLES))
        naive_p.append(permutation_p([list(enumerate(values))], resamples=RESAMPLES))
    assert 0.035 <= np.mean(np.array(clustered_p) < 0.05) <= 0.065
    assert np.mean(np.array(naive_p) < 0.05) > 0.15
