"""Means, clustered errors and intervals against closed forms and simulation."""

import math
import random

import pytest

from harness.stats import NO_ESTIMATE, change_of_pairs, estimate_mean, paired_difference


def test_plain_mean_has_the_textbook_error_and_t_interval():
    values = [1.0, 2.0, 4.0, 5.0]
    found = estimate_mean([list(enumerate(values))])
    assert found.value == 3.0
    assert found.stderr == pytest.approx(math.sqrt(sum((v - 3) ** 2 for v in values) / 3 / 4))
    assert found.ci95 is not None
    assert found.ci95[1] - 3.0 == pytest.approx(3.182446 * found.stderr, rel=1e-5)  # t with 3 degrees of freedom


def test_repeats_within_a_cluster_add_no_certainty():
    once = estimate_mean([[("a", 0.0), ("b", 1.0), ("c", 1.0)]])
    thrice = estimate_mean([[(cluster, v) for cluster, v in [("a", 0.0), ("b", 1.0), ("c", 1.0)] for _ in range(3)]])
    assert thrice.stderr == pytest.approx(once.stderr)
    assert thrice.n == 9


def test_one_cluster_has_no_error():
    found = estimate_mean([[("a", 0.0), ("a", 1.0)]])
    assert (found.value, found.stderr, found.ci95) == (0.5, None, None)


def test_macro_mean_weighs_strata_alike():
    found = estimate_mean([[("a", 1.0)] * 9 + [("b", 1.0)], [("c", 0.0), ("d", 0.5)]])
    assert found.value == pytest.approx((1.0 + 0.25) / 2)


def test_an_empty_stratum_leaves_nothing():
    assert estimate_mean([[("a", 1.0)], []]) == NO_ESTIMATE
    assert estimate_mean([]) == NO_ESTIMATE


def alone(values):
    """One stratum in which every value is a cluster."""
    return [list(enumerate(values))]


def test_the_interval_stays_within_the_bounds():
    low, high = estimate_mean([[("a", 1.0), ("b", 0.9), ("c", 1.0)]], bounds=(0.0, 1.0)).ci95
    assert 0 < low < 29 / 30 < high < 1
    assert estimate_mean([[("a", 1.0), ("b", 0.9), ("c", 1.0)]]).ci95[1] > 1  # Student's t


def test_all_right_is_not_certainty():
    """Near the exact binomial limit of 95 % on one side, whatever the number."""
    for n in (3, 5, 12, 60, 200):
        low, high = estimate_mean(alone([1.0] * n), bounds=(0.0, 1.0)).ci95
        assert (low, high) == (pytest.approx(0.05 ** (1 / n), abs=0.02), 1.0)
        assert estimate_mean(alone([0.0] * n), bounds=(0.0, 1.0)).ci95 == (0.0, pytest.approx(1 - low))


def test_one_small_value_among_zeros_is_hardly_news():
    zeros, one = (estimate_mean(alone([0.0] * 199 + [last]), bounds=(0.0, 1.0)).ci95 for last in (0.0, 0.01))
    assert zeros == (0.0, pytest.approx(0.0150, abs=1e-4))
    assert one == (pytest.approx(0.0, abs=1e-4), pytest.approx(zeros[1], abs=1e-4))


def test_what_one_task_shows_says_nothing_of_another():
    """Three of three wrong leaves room, however many of the other task are wrong."""
    small, large = [(f"a{i}", 0.0) for i in range(3)], [(f"b{i}", 0.0) for i in range(200)]
    room = estimate_mean([small], bounds=(0.0, 1.0)).ci95[1] / 2
    assert room < estimate_mean([small, large], bounds=(0.0, 1.0)).ci95[1] < 1.1 * room


def test_tasks_of_one_size_leave_the_room_of_all_their_episodes():
    four = [[(f"{task}{i}", 0.0) for i in range(15)] for task in "abcd"]
    assert estimate_mean(four, bounds=(0.0, 1.0)).ci95 == pytest.approx(
        estimate_mean(alone([0.0] * 60), bounds=(0.0, 1.0)).ci95
    )


def test_worlds_of_equal_values_count_once_each():
    worlds = [[(world, 0.0) for world in range(12) for _ in range(5)]]
    assert estimate_mean(worlds, bounds=(0.0, 1.0)).ci95 == pytest.approx(
        estimate_mean(alone([0.0] * 12), (0.0, 1.0)).ci95
    )


def test_well_spread_values_have_students_interval():
    source = random.Random(3)
    for n, share in ((20, 0.08), (60, 0.04), (200, 0.02)):
        values = [source.betavariate(1.2, 1.2) for _ in range(n)]
        theirs, ours = estimate_mean(alone(values)).ci95, estimate_mean(alone(values), bounds=(0.0, 1.0)).ci95
        assert ours[1] - ours[0] == pytest.approx(theirs[1] - theirs[0], rel=share)


@pytest.mark.parametrize("worlds", [1, 2, 30])
def test_the_mirrored_values_have_the_mirrored_interval(worlds):
    source = random.Random(1)
    strata = [[(f"{task}{source.randrange(worlds)}", source.random() ** 4) for _ in range(40)] for task in "aab"]
    mirrored = [[(world, 1 - value) for world, value in stratum] for stratum in strata]
    found = [estimate_mean(each, (0.0, 1.0), [2.0, 1.0, 1.0]).ci95 for each in (strata, mirrored)]
    if worlds == 1:
        assert found == [None, None]
    else:
        assert found[1] == pytest.approx((1 - found[0][1], 1 - found[0][0]))


@pytest.mark.parametrize(("strata_count", "worlds", "repeats"), [(1, 12, 1), (4, 3, 1), (4, 2, 1), (2, 12, 3)])
def test_the_interval_covers_as_often_as_it_says(strata_count, worlds, repeats):
    source = random.Random(0)
    hits = 0
    for _ in range(1500):
        strata = []
        for stratum in range(strata_count):
            shifts = [(f"{stratum}/{w}", source.gauss(0, 1)) for w in range(worlds)]
            strata.append([(world, shift + source.gauss(0, 1)) for world, shift in shifts for _ in range(repeats)])
        low, high = estimate_mean(strata).ci95
        hits += low <= 0 <= high
    assert 0.935 <= hits / 1500 <= 0.965


def test_worlds_that_reach_into_several_tasks_are_one_sample():
    nested = estimate_mean([[("a", 0.0), ("b", 1.0)], [("c", 0.0), ("d", 1.0)]])
    shared = estimate_mean([[("a", 0.0), ("b", 1.0)], [("a", 0.0), ("b", 1.0)]])
    assert shared.stderr == pytest.approx(nested.stderr * 2**0.5)


@pytest.mark.parametrize(
    ("strata", "bounds"),
    [
        ([[("a", 0.2), ("a", 0.9)]], (0.0, 1.0)),
        ([[("a", 0.2)], [("b", 0.9)]], (0.0, 1.0)),
        ([[("a", 7.0), ("b", 7.0)]], None),
        ([[(world, 7.0)] for world in "abcdef"], None),
    ],
)
def test_no_interval_where_nothing_is_known_of_the_spread(strata, bounds):
    assert estimate_mean(strata, bounds).ci95 is None


def test_tasks_of_one_world_each_may_be_anything_within_their_bounds():
    found = estimate_mean([[(world, 0.5)] for world in "abcde"], bounds=(0.0, 1.0))
    assert found.stderr is None
    assert found.ci95[0] < 0.5 - 1.96 * 0.5 / 5**0.5 + 0.1 and found.ci95[1] == pytest.approx(1 - found.ci95[0])


def test_equal_values_have_an_interval_all_the_same():
    low, high = estimate_mean([[(world, 0.4) for world in range(12)]], bounds=(0.0, 1.0)).ci95
    assert 0.3 < low < 0.35 and 0.5 < high < 0.6


def test_a_task_of_three_says_how_far_the_mean_can_be_trusted():
    """Welch's degrees of freedom: those of the task that makes the error."""
    small, large = [("a", 3.0), ("b", 9.0), ("c", 6.0)], [(i, float(i % 2)) for i in range(200)]
    assert estimate_mean([small, large]).degrees_of_freedom == pytest.approx(2, abs=0.01)
    assert estimate_mean([large]).degrees_of_freedom == 199


def test_only_strata_that_share_clusters_are_one_sample():
    """Two columns of the same episodes, and a third of others: the third's variance is its own."""
    first, other = [("a", 0.0), ("b", 1.0), ("c", 1.0)], [("x", 0.0), ("y", 1.0)]
    doubled = estimate_mean([first, first], weights=[1, 1])
    both = estimate_mean([first, other, first], weights=[1, 2, 1])
    assert both.stderr == pytest.approx(((doubled.stderr / 2) ** 2 + (estimate_mean([other]).stderr / 2) ** 2) ** 0.5)
    assert both.degrees_of_freedom <= 2 + 1


def test_strata_are_joined_across_one_that_lies_between():
    chain = [[("a", 0.0), ("b", 1.0)], [("c", 0.0), ("d", 1.0)], [("b", 0.0), ("c", 1.0)]]
    assert estimate_mean(chain).degrees_of_freedom == 3


def test_a_stratum_with_one_cluster_says_nothing_of_its_spread_even_where_others_share_it():
    assert estimate_mean([[("a", 0.0), ("b", 1.0)], [("a", 0.5)]]).ci95 is None


def test_paired_differences_are_weighed_clustered_and_cut_like_means():
    first, second = [("x", 0.0, 1.0), ("y", 0.5, 1.0)], [("z", 0.5, 0.25), ("w", 0.5, 0.25)]
    assert paired_difference([first, second]).value == 0.25
    found = paired_difference([first, second], bounds=(0.0, 1.0), weights=[3.0, 1.0])
    assert (found.value, found.n) == (0.5, 4)
    assert found == estimate_mean(change_of_pairs([first, second]), (-1.0, 1.0), [3.0, 1.0])


def test_equal_values_have_no_error_whatever_rounding_leaves():
    found = estimate_mean([[("a", 0.4), ("b", 0.4), ("c", 0.4)]], bounds=(0.0, 1.0))
    assert (found.stderr, found.degrees_of_freedom) == (0.0, None)
