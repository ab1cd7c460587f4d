"""Means, clustered errors and intervals against closed forms and simulation."""

import math
import random

import pytest

from harness.stats import EMPTY, differences, estimate, paired_difference


def test_plain_mean_has_the_textbook_error_and_t_interval():
    values = [1.0, 2.0, 4.0, 5.0]
    found = estimate([list(enumerate(values))])
    assert found.value == 3.0
    assert found.stderr == pytest.approx(math.sqrt(sum((v - 3) ** 2 for v in values) / 3 / 4))
    assert found.ci95 is not None
    assert found.ci95[1] - 3.0 == pytest.approx(3.182446 * found.stderr, rel=1e-5)  # t with 3 degrees of freedom


def test_repeats_within_a_cluster_add_no_certainty():
    once = estimate([[("a", 0.0), ("b", 1.0), ("c", 1.0)]])
    thrice = estimate([[(cluster, v) for cluster, v in [("a", 0.0), ("b", 1.0), ("c", 1.0)] for _ in range(3)]])
    assert thrice.stderr == pytest.approx(once.stderr)
    assert thrice.n == 9


def test_one_cluster_has_no_error():
    found = estimate([[("a", 0.0), ("a", 1.0)]])
    assert (found.value, found.stderr, found.ci95) == (0.5, None, None)


def test_macro_mean_weighs_strata_alike():
    found = estimate([[("a", 1.0)] * 9 + [("b", 1.0)], [("c", 0.0), ("d", 0.5)]])
    assert found.value == pytest.approx((1.0 + 0.25) / 2)


def test_an_empty_stratum_leaves_nothing():
    assert estimate([[("a", 1.0)], []]) == EMPTY
    assert estimate([]) == EMPTY


def test_bounds_clip_the_interval():
    found = estimate([[("a", 1.0), ("b", 0.9), ("c", 1.0)]], bounds=(0.0, 1.0))
    assert found.ci95 is not None and found.ci95[1] == 1.0


def test_all_right_is_not_certainty():
    right = estimate([[(cluster, 1.0) for cluster in range(12)]], bounds=(0.0, 1.0))
    assert right.ci95 == (pytest.approx(0.7354, abs=1e-4), 1.0)
    wrong = estimate([[(cluster, 0.0) for cluster in range(12)]], bounds=(0.0, 1.0))
    assert wrong.ci95 == (0.0, pytest.approx(0.2646, abs=1e-4))


@pytest.mark.parametrize(("strata_count", "worlds", "repeats"), [(1, 12, 1), (4, 3, 1), (4, 2, 1), (2, 12, 3)])
def test_the_interval_covers_as_often_as_it_says(strata_count, worlds, repeats):
    source = random.Random(0)
    hits = 0
    for _ in range(1500):
        strata = []
        for stratum in range(strata_count):
            shifts = [(f"{stratum}/{w}", source.gauss(0, 1)) for w in range(worlds)]
            strata.append([(world, shift + source.gauss(0, 1)) for world, shift in shifts for _ in range(repeats)])
        low, high = estimate(strata).ci95
        hits += low <= 0 <= high
    assert 0.935 <= hits / 1500 <= 0.965


def test_worlds_that_reach_into_several_tasks_are_one_sample():
    nested = estimate([[("a", 0.0), ("b", 1.0)], [("c", 0.0), ("d", 1.0)]])
    shared = estimate([[("a", 0.0), ("b", 1.0)], [("a", 0.0), ("b", 1.0)]])
    assert shared.stderr == pytest.approx(nested.stderr * 2**0.5)


@pytest.mark.parametrize(
    "strata",
    [
        [[("a", 0.5), ("b", 0.5)]],
        [[("a", 1.0), ("b", 1.0)], [("c", 0.0), ("d", 0.0)]],
        [[("a", 0.2)], [("b", 0.9)]],
    ],
)
def test_no_interval_where_nothing_is_known_of_the_spread(strata):
    assert estimate(strata, bounds=(0.0, 1.0)).ci95 is None


def test_only_strata_that_share_clusters_are_one_sample():
    """Two columns of the same episodes, and a third of others: the third's variance is its own."""
    first, other = [("a", 0.0), ("b", 1.0), ("c", 1.0)], [("x", 0.0), ("y", 1.0)]
    doubled = estimate([first, first], weights=[1, 1])
    both = estimate([first, other, first], weights=[1, 2, 1])
    assert both.stderr == pytest.approx(((doubled.stderr / 2) ** 2 + (estimate([other]).stderr / 2) ** 2) ** 0.5)
    assert both.freedom == 2 + 1


def test_strata_are_joined_across_one_that_lies_between():
    chain = [[("a", 0.0), ("b", 1.0)], [("c", 0.0), ("d", 1.0)], [("b", 0.0), ("c", 1.0)]]
    assert estimate(chain).freedom == 3


def test_a_stratum_with_one_cluster_says_nothing_of_its_spread_even_where_others_share_it():
    assert estimate([[("a", 0.0), ("b", 1.0)], [("a", 0.5)]]).ci95 is None


def test_paired_differences_are_weighed_clustered_and_cut_like_means():
    first, second = [("x", 0.0, 1.0), ("y", 0.5, 1.0)], [("z", 0.5, 0.25), ("w", 0.5, 0.25)]
    assert paired_difference([first, second]).value == 0.25
    found = paired_difference([first, second], bounds=(0.0, 1.0), weights=[3.0, 1.0])
    assert (found.value, found.n) == (0.5, 4)
    assert found == estimate(differences([first, second]), (-1.0, 1.0), [3.0, 1.0])


def test_equal_values_have_no_interval_whatever_rounding_leaves():
    found = estimate([[("a", 0.4), ("b", 0.4), ("c", 0.4)]], bounds=(0.0, 1.0))
    assert (found.stderr, found.ci95) == (0.0, None)
