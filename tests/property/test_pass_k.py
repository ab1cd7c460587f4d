"""pass@k and pass^k against counting: the estimators are the shares over all subsets of k attempts."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats import pass_at, pass_hat


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.data())
def test_they_are_the_share_of_subsets(attempts, data):
    k = data.draw(st.integers(1, len(attempts)))
    subsets = list(combinations(attempts, k))
    n, c = len(attempts), sum(attempts)
    assert pass_at(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))
    assert pass_hat(n, c, k) == pytest.approx(sum(map(all, subsets)) / len(subsets))


def test_known_values():
    assert pass_at(4, 1, 2) == pytest.approx(0.5)
    assert pass_hat(4, 3, 2) == pytest.approx(0.5)
    assert pass_at(5, 0, 5) == 0.0
    assert pass_hat(5, 5, 5) == 1.0
