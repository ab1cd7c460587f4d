"""Linear classifiers on unseen clusters: what is planted is found, what is not there is not, and nothing leaks."""

import numpy as np
import pytest

from harness.stats.classifier import (
    auroc,
    bag,
    compare_aurocs,
    estimate_auroc,
    fold_clusters,
    learn,
    learn_standardised,
    placements,
    score_unseen,
    spread_of,
    words,
)

PENALTIES = (100.0, 1.0)
WORLDS = [f"world {number // 5}" for number in range(200)]
FOLD = fold_clusters(WORLDS, 5, seed=0)
LABELS = np.array([1.0, 1.0, 1.0, 0.0, 0.0] * 40)


def noise(columns=12, seed=0):
    return np.random.default_rng(seed).normal(size=(200, columns))


def judged(table, labels=LABELS, penalties=PENALTIES):
    return score_unseen(table, labels, FOLD, penalties, learn_standardised)


def test_folds_share_no_cluster_and_follow_the_seed():
    of_world = {world: {fold for fold, one in zip(FOLD, WORLDS, strict=True) if one == world} for world in WORLDS}
    assert all(len(folds) == 1 for folds in of_world.values())
    assert np.bincount(FOLD).tolist() == [40] * 5
    assert (fold_clusters(WORLDS, 5, seed=0) == FOLD).all() and (fold_clusters(WORLDS, 5, seed=1) != FOLD).any()
    assert fold_clusters("aabca", 2).tolist() == [0, 0, 1, 0, 0]


def test_a_planted_direction_is_found():
    table = noise()
    table[:, 3] += 4 * LABELS
    found = estimate_auroc(judged(table).scores, LABELS, WORLDS, FOLD)
    assert found.value > 0.97
    low, high = found.ci95
    assert 0.9 < low < found.value < high <= 1


def test_noise_is_not():
    found = [judged(noise(seed=seed), penalties=(100.0,)).scores for seed in range(4)]
    values = [estimate_auroc(scores, LABELS, WORLDS, FOLD).value for scores in found]
    assert np.mean(values) == pytest.approx(0.5, abs=0.06)


def test_what_is_the_same_in_a_world_alone_does_not_tell_of_others():
    """A column that gives a label away only to who knows the world."""
    sign = np.repeat(np.random.default_rng(1).choice([-1.0, 1.0], 40), 5)
    table = np.column_stack([sign * (LABELS - 0.5), noise(3)])
    assert estimate_auroc(judged(table).scores, LABELS, WORLDS, FOLD).value < 0.65


def test_labels_of_a_fold_change_nothing_that_is_said_of_it():
    table = noise()
    table[:, 3] += LABELS
    other = np.where(FOLD == 2, 1 - LABELS, LABELS)
    before, after = judged(table), judged(table, other)
    assert (before.scores[FOLD == 2] == after.scores[FOLD == 2]).all()
    assert before.inner[2] == after.inner[2]
    assert (before.scores[FOLD != 2] != after.scores[FOLD != 2]).all()


def test_placements_are_those_of_delong():
    scores, labels = np.array([0.1, 0.4, 0.35, 0.8, 0.4]), np.array([0.0, 0.0, 1.0, 1.0, 1.0])
    found = placements(scores, labels, np.zeros(5, dtype=int))
    pairs = np.array([[1, 0], [1, 1], [1, 0.5]])  # positives against negatives
    assert found.mean() == pytest.approx(auroc(scores, labels)) == pytest.approx(pairs.mean())
    assert found[labels == 1] - found.mean() == pytest.approx(5 / 3 * (pairs.mean(1) - pairs.mean()))
    assert found[labels == 0] - found.mean() == pytest.approx(5 / 2 * (pairs.mean(0) - pairs.mean()))


def test_the_interval_covers_the_truth_of_correlated_worlds():
    draw, hits = np.random.default_rng(3), 0
    for _ in range(100):
        scores = draw.normal(size=200) + LABELS + 0.7 * np.repeat(draw.normal(size=40), 5)
        low, high = estimate_auroc(scores, LABELS, WORLDS, FOLD).ci95
        hits += low < 0.7188 < high  # Phi(1 / sqrt(2 (1 + 0.49)))
    assert hits >= 88


def test_scores_that_order_nothing_have_no_interval_and_lose_to_those_that_do():
    found = estimate_auroc(np.zeros(200), LABELS, WORLDS, FOLD)
    assert (found.value, found.ci95, found.n) == (0.5, None, 200)
    lead = compare_aurocs(np.zeros(200), LABELS, LABELS, WORLDS, FOLD)
    assert lead.value == pytest.approx(0.5)


def test_a_column_that_does_not_differ_weighs_nothing():
    table = noise(3)
    table[:, 1] = 0.1
    mean, scale = spread_of(table)
    assert scale[1] == 1.0
    weights = learn_standardised(table, LABELS, 1.0)
    assert weights[1] == pytest.approx(0, abs=1e-9)
    direct = learn((table - mean) / scale, LABELS, 1.0)
    assert table @ weights[:-1] + weights[-1] == pytest.approx((table - mean) / scale @ direct[:-1] + direct[-1])


def test_a_bag_has_the_words_of_three_texts():
    table = bag(["Red red hat.", "a red hat", "Red HAT 12"], words).toarray()
    assert table.shape == (3, 2) and np.linalg.norm(table, axis=1) == pytest.approx(1)
    assert table[0, 0] > table[0, 1] and table[1, 0] == table[1, 1]
