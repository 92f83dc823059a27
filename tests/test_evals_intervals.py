"""Intervals and tests of differences: values worked out by hand, and what must hold whatever is drawn."""

from __future__ import annotations

import math

import pytest

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.intervals import bootstrap, paired, wilson


def test_wilson_of_known_shares() -> None:
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=5e-5)
    low, high = wilson(0.6 * 1307, 1307)
    assert (high - low) / 2 == pytest.approx(0.0265, abs=5e-5)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0
    z2 = 1.959963984540054**2
    assert wilson(0, 10)[1] == pytest.approx(z2 / (10 + z2))  # the formula for no yes at all


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_of_no_share(successes: int, n: int) -> None:
    with pytest.raises(InputError, match="is no share"):
        wilson(successes, n)


def test_bootstrap_draws_conversations() -> None:
    """Two conversations of one question: the mean is 0, 1/2 or 1, with 1/4, 1/2 and 1/4."""
    assert bootstrap([0.0, 1.0], ["x", "y"]) == (0.0, 1.0)
    assert bootstrap([0.0, 1.0], ["x", "y"], level=0.4) == (0.5, 0.5)
    # A hundred equal questions in two conversations say no more than two questions.
    assert bootstrap([0.0] * 50 + [1.0] * 50, ["x"] * 50 + ["y"] * 50) == (0.0, 1.0)


def test_bootstrap_weighs_questions_not_conversations() -> None:
    low, high = bootstrap([0.0] * 3 + [1.0], ["x"] * 3 + ["y"], level=0.4)
    assert (low, high) == (0.25, 0.25)


def test_bootstrap_of_one_conversation_draws_questions() -> None:
    values = [1.0] * 60 + [0.0] * 40
    low, high = bootstrap(values, ["x"] * 100)
    error = math.sqrt(0.6 * 0.4 / 100)
    assert (low, high) == pytest.approx((0.6 - 1.96 * error, 0.6 + 1.96 * error), abs=0.015)
    assert bootstrap([0.5] * 7, ["x"] * 7) == (0.5, 0.5)


def test_the_same_seed_gives_the_same_interval_in_any_order() -> None:
    values = [0.1, 0.9, 0.4, 0.7, 0.2, 0.6]
    conversations = ["b", "a", "b", "c", "c", "a"]
    backwards = bootstrap(values[::-1], conversations[::-1])
    assert bootstrap(values, conversations) == pytest.approx(backwards) == bootstrap(values, conversations)
    wide = bootstrap(values, conversations, level=0.99)
    assert wide[0] <= backwards[0] <= backwards[1] <= wide[1]


@pytest.mark.parametrize("values", [[], [0.5], [0.5, math.nan]])
def test_scores_that_are_missing_are_refused(values: list[float]) -> None:
    with pytest.raises(InputError):
        bootstrap(values, ["x", "y"])


def test_a_paired_difference() -> None:
    found = paired([0.0, 0.5, 1.0], [1.0, 1.0, 1.0], ["x", "x", "y"])
    assert (found.n, found.a, found.b) == (3, 0.5, 1.0)
    assert found.difference == found.b - found.a
    assert (found.low, found.high) == (0.0, 0.75)


def test_the_p_of_a_few_questions_counts_every_pattern_of_signs() -> None:
    three = paired([0, 0, 0, 1], [1, 1, 1, 1], list("wxyz"))
    assert three.p == 2 / 2**3  # all up or all down; the question that did not change does not count
    assert three.p_conversations == 2 / 2**3
    mixed = paired([0, 0, 0, 1], [1, 1, 1, 0], list("wwww"))
    assert mixed.p == (2 * (1 + 4)) / 2**4  # McNemar's exact test: 1 of 4 or more extreme, two-sided
    assert mixed.p_conversations is None
    assert paired([1, 0], [1, 0], list("xy")).p == 1.0


def test_p_by_conversation_is_the_careful_one() -> None:
    """What 40 questions seem to prove is a single conversation that went well."""
    a, b = [0.0] * 80, [1.0] * 40 + [0.0] * 40
    found = paired(a, b, ["x"] * 40 + ["y"] * 40)
    assert found.p < 0.001
    assert found.p_conversations == 1.0


def test_p_of_many_questions_agrees_with_mcnemar() -> None:
    """30 flips up and 14 down: the exact two-sided binomial p is 0.0226."""
    a = [0.0] * 30 + [1.0] * 14 + [1.0] * 200
    b = [1.0] * 30 + [0.0] * 14 + [1.0] * 200
    exact = 2 * sum(math.comb(44, k) for k in range(15)) / 2**44
    found = paired(a, b, [str(number % 10) for number in range(244)])
    assert found.p == pytest.approx(exact, abs=0.004)
    assert found == paired(a, b, [str(number % 10) for number in range(244)])
