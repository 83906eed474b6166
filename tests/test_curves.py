"""Vanishing curves against algebra: a linear cell that scales the gradient by g has n_d = a g^d exactly."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.stats

from rnn_research import curves
from rnn_research.curves import Curve, Decay, Verdict, curve, decay, together, verdict

SAMPLES, FAR = 24, 64


def table_of(norms: np.ndarray, step: int = 0, layer: int = 0, name: str = "hidden") -> np.ndarray:
    """An adjoint table whose norms are `norms` (sample, distance); NaN stands for "not there"."""
    present = ~np.isnan(norms)
    sample, distance = np.nonzero(present)
    dtype = [("step", "i8"), ("layer", "i2"), ("sample", "i4"), ("distance", "i4"), (name, "f8")]
    table = np.zeros(len(sample), dtype=dtype)
    table["step"], table["layer"], table["sample"], table["distance"] = step, layer, sample, distance
    table[name] = norms[present]
    return table


def powers(g: float, samples: int = SAMPLES, far: int = FAR) -> np.ndarray:
    """a g^d in float32, as a gradient is, with a log-normal `a` for each sample."""
    loud = np.exp(np.random.default_rng(0).normal(scale=2, size=(samples, 1)))
    with np.errstate(over="ignore", under="ignore"):
        return (loud * g ** np.arange(far, dtype=np.float64)).astype(np.float32).astype(np.float64)


def told(norms: np.ndarray) -> tuple[Curve, Decay, Verdict]:
    found = curve(table_of(norms))
    rate = decay(found)
    return found, rate, verdict(found, rate)


# -- a cell that scales the gradient by g ------------------------------------------------------------


@pytest.mark.parametrize("g", [0.3, 0.6, 0.9, 0.99, 1.01, 1.5])
def test_the_rate_of_g_to_the_d_is_log_g(g: float):
    _, rate, _ = told(powers(g))
    assert rate.rate == pytest.approx(np.log(g), abs=1e-6)
    assert rate.low <= np.log(g) <= rate.high
    assert rate.r_squared == pytest.approx(1, abs=1e-6)
    assert rate.gamma == pytest.approx(g, rel=1e-5)
    assert rate.half_life == pytest.approx(-np.log(2) / np.log(g), rel=1e-3)
    assert rate.better == "exponential"
    assert rate.high - rate.low == pytest.approx(2e-6)  # what float32 can resolve, and no sampling error


@pytest.mark.parametrize(
    ("g", "word"),
    [
        (0.01, "vanishing"),
        (0.9, "vanishing"),
        (0.95, "stable"),
        (1.0, "stable"),
        (1.05, "stable"),
        (1.5, "exploding"),
    ],
)
def test_the_word_for_g_to_the_d(g: float, word: str):
    # 0.9^63 = 1.3e-3, 0.95^63 = 0.04, 1.05^63 = 21.6
    assert told(powers(g))[2].word == word


def test_an_orthogonal_cell_keeps_the_gradient():
    found, rate, said = told(powers(1.0))
    assert np.allclose(found.log_ratio, 0, atol=1e-6)
    assert rate.low <= 0 <= rate.high
    assert np.isnan(rate.r_squared)  # nothing varies, so nothing is explained
    assert rate.horizon is None
    assert rate.better == "either"
    assert said.reason.startswith("keeps its value over 63 applications")


def test_what_float32_underflows_is_vanishing_and_left_out_of_the_fit():
    found, rate, said = told(powers(0.01))
    assert said.word == "vanishing"
    assert rate.rate == pytest.approx(np.log(0.01), abs=1e-5)
    assert found.zeros[-1] == 1
    assert np.isneginf(found.log_ratio[-1])
    assert rate.far_ratio == 0
    assert rate.used < 20
    assert "float32" in rate.left_out
    assert said.reason.startswith("falls below what float32 holds (or to exact zero) within 23 applications")


def test_what_overflows_is_exploding():
    found, rate, said = told(powers(100.0))
    assert np.isposinf(found.log_ratio[-1])
    assert said.word == "exploding"
    assert rate.rate == pytest.approx(np.log(100), abs=1e-5)
    assert "infinite" in rate.left_out


@pytest.mark.parametrize(("g", "word"), [(1e-20, "vanishing"), (1e25, "exploding")])
def test_a_curve_that_leaves_float32_at_once_has_a_bound(g: float, word: str):
    _, rate, said = told(powers(g))
    assert rate.bounded
    assert said.word == word
    # the bound is on the near side of the truth
    assert (rate.rate >= np.log(g)) if g < 1 else (rate.rate <= np.log(g))
    assert rate.low <= rate.rate <= rate.high
    assert ("at most" if g < 1 else "at least") in said.reason


@pytest.mark.parametrize(
    ("g", "fraction", "expected"), [(0.5, 1e-2, 7), (0.9, 1e-2, 44), (0.9, 0.5, 7), (0.99, 1e-2, None)]
)
def test_the_horizon_is_the_first_distance_below_the_fraction(g: float, fraction: float, expected: int | None):
    assert decay(curve(table_of(powers(g))), fraction).horizon == expected


def test_the_far_ratio_is_of_the_ends():
    assert told(powers(0.9))[1].far_ratio == pytest.approx(0.9**63, rel=1e-4)


def test_a_power_law_is_told_from_an_exponential():
    noise = np.exp(0.01 * np.random.default_rng(1).normal(size=(SAMPLES, FAR)))
    found = decay(curve(table_of((1.0 + np.arange(FAR)) ** -1.5 * noise)))
    assert found.better == "power law"
    assert found.power == pytest.approx(1.5, abs=0.02)


def test_the_reason_has_the_numbers():
    reason = told(powers(0.6))[2].reason
    assert "falls to 1.1e-14 of its value within 63 applications" in reason
    assert "rate -0.510826" in reason
    assert "half-life 1.4" in reason


@pytest.mark.parametrize("far", [1, 2])
def test_too_few_distances_are_too_short(far: int):
    _, rate, said = told(powers(0.5, far=far))
    assert np.isnan(rate.rate)
    assert said.word == "too short"


def test_a_curve_that_falls_and_rises_is_mixed():
    down = 0.5 ** np.arange(12.0)
    up = down[-1] * 4.0 ** np.arange(1, 12)
    said = told(np.tile(np.concatenate([down, up]), (SAMPLES, 1)))[2]
    assert said.word == "mixed"
    assert "falls" in said.reason
    assert "rises" in said.reason


def test_the_interval_has_log_g_where_a_sample_is_subnormal():
    # float32 holds 2e-42 to 5%: with one seed such a sample bent the interval of the others away from log g
    norms = powers(0.9, samples=4, far=5)
    with np.errstate(under="ignore"):
        norms[0] = (2e-42 * 0.9 ** np.arange(5.0)).astype(np.float32)
    norms[1:] *= 1e9  # the typical norm is far from underflow
    found, rate, _ = told(norms)
    assert found.geometric_mean.min() > 1e-10
    assert rate.used == 5
    assert rate.rate == pytest.approx(np.log(0.9), abs=1e-6)
    assert rate.low <= np.log(0.9) <= rate.high
    assert rate.high - rate.low == pytest.approx(2e-6)


def test_where_every_sample_has_a_node_that_is_subnormal_nothing_is_fitted():
    # in a tree: half of the nodes at a depth underflow in each sample, and the typical norm is above the floor
    table = np.concatenate([table_of(powers(0.9, far=6)), table_of(1e-40 * powers(0.9, far=6))])
    table["hidden"][: len(table) // 2] *= 1e20
    found = curve(table)
    assert found.geometric_mean.min() > 1e-36
    rate = decay(found)
    assert rate.used == 0
    assert "6 under 1e-36" in rate.left_out
    assert verdict(found, rate).word == "too short"


@pytest.mark.parametrize("far", [3, 20])
def test_infinite_from_the_start_is_exploding(far: int):
    found, _, said = told(np.full((SAMPLES, far), np.inf))
    assert said == Verdict("exploding", "most norms are infinite at the smallest distance already")
    assert np.isposinf(found.log_ratio[0])


def test_all_nan_is_an_overflow_only_in_a_run_that_diverged():
    gone = curve(table_of(np.full((SAMPLES, FAR), -1.0)))  # neither a norm nor a NaN that stands for "not there"
    assert verdict(gone, decay(gone)).word == "no gradient"
    said = verdict(gone, decay(gone), diverged_step=0)
    assert said.word == "exploding"
    assert said.reason == (
        "the loss or its gradient overflowed before a norm could be measured: none is finite at step 0, "
        "and the run diverged at step 0"
    )
    silent = curve(table_of(np.zeros((SAMPLES, FAR))))
    assert verdict(silent, decay(silent), diverged_step=0).word == "no gradient"


def test_nan_beyond_the_smallest_distance_of_a_run_that_diverged_is_an_overflow():
    norms = np.full((SAMPLES, FAR), -1.0)
    norms[:, 0] = 1e30
    found = curve(table_of(norms))
    said = verdict(found, decay(found), diverged_step=3)
    assert said.word == "exploding"
    assert "none beyond distance 0 is finite" in said.reason


# -- exact zeros: dead units, or a gradient that is gone ---------------------------------------------


def with_zeros(near: list[float], *zero: int) -> np.ndarray:
    """Norms that are `near` for all samples, with 60% zeros at the distances `zero`."""
    norms = np.tile(np.array(near), (20, 1))
    norms[:12, list(zero)] = 0
    return norms


@pytest.mark.parametrize("zero", [(63,), (62, 63), (30,), (30, 31)])
def test_dead_units_at_a_distance_or_two_are_no_fall(zero: tuple[int, ...]):
    found, rate, said = told(with_zeros([1.0] * 64, *zero))
    assert np.isneginf(found.log_ratio[list(zero)]).all()
    assert said.word == "stable"
    assert "keeps its value" in said.reason
    where = f"distance{'s' * (len(zero) > 1)} {', '.join(map(str, zero))}"
    assert said.reason.endswith(f"; dead units: at {where} alone 60% of the norms are exactly zero")
    assert rate.horizon is None
    assert rate.far_ratio == pytest.approx(1)


@pytest.mark.parametrize(
    ("near", "zero"),
    [
        ([1.0] * 64, (61, 62, 63)),  # gone, and stays so
        ([1.0, 1.0, 1.0], (1, 2)),  # all that there is but the smallest
        ([1.0, 1.0], (1,)),
        ([1.0, 0.1, 0.009, 0.0], (3,)),  # on its way there
        ([1.0, 1e-4, 1e-8], ()),  # W_hh x 0.01 on sequences of length 3
        ([1.0, 1e-4, 0.0], (2,)),
    ],
)
def test_zeros_that_persist_or_that_a_fall_led_to_are_vanishing(near: list[float], zero: tuple[int, ...]):
    assert told(with_zeros(near, *zero))[2].word == "vanishing"


def test_dead_units_of_a_short_curve_bound_no_rate():
    _, rate, said = told(with_zeros([1.0, 1.0, 1.0], 2))
    assert not rate.bounded
    assert said.word == "too short"


def test_seeds_whose_last_distance_is_dead_are_stable():
    parts = [told(with_zeros([1.0] * 64, 63)), told(with_zeros([1.0] * 64, 63))]
    found = together(*zip(*parts, strict=True))
    assert found is not None
    assert found.verdict.word == "stable"
    assert "at distance 63 alone most of the norms are exactly zero" in found.verdict.reason
    assert found.decay.horizon is None
    assert found.decay.far_ratio == pytest.approx(1)


def test_stable_over_few_applications_is_said_to_be():
    assert "over only 6 applications" in told(powers(0.55, far=7))[2].reason
    assert "over only" not in told(powers(1.0, far=7))[2].reason
    assert "over only" not in told(powers(0.95))[2].reason


# -- samples -----------------------------------------------------------------------------------------


def test_one_loud_sample_moves_the_geometric_mean_by_its_share_and_the_ratio_not_at_all():
    norms = powers(0.9)
    loud = norms.copy()
    loud[3] *= 1e6
    before, after = curve(table_of(norms)), curve(table_of(loud))
    assert np.allclose(after.geometric_mean / before.geometric_mean, 1e6 ** (1 / SAMPLES))
    assert np.allclose(after.log_ratio, before.log_ratio)


def test_one_sample_that_explodes_does_not_change_the_verdict():
    norms = powers(0.9)
    norms[3] = norms[3, 0] * 1.2 ** np.arange(FAR)
    found, rate, said = told(norms)
    expected = np.arange(FAR) * (np.log(0.9) + np.log(1.2 / 0.9) / SAMPLES)
    assert np.allclose(found.log_ratio, expected, atol=1e-5)
    assert said.word == "vanishing"
    assert rate.low <= np.log(0.9) <= rate.high


def test_scale_and_the_order_of_rows_do_not_matter():
    table = table_of(powers(0.8))
    shuffled = table[np.random.default_rng(0).permutation(len(table))]
    shuffled["hidden"] *= 1e-9
    one, other = curve(table), curve(shuffled)
    assert np.allclose(one.log_ratio, other.log_ratio)
    assert decay(one).low == pytest.approx(decay(other).low)


def test_few_dead_samples_are_neither_vanishing_nor_in_the_way_of_a_rate():
    norms = powers(0.98)
    norms[:5, 4:] = 0  # 5 of 24: a relu net whose units died for some inputs
    found, rate, said = told(norms)
    assert found.zeros[4:] == pytest.approx(5 / SAMPLES)
    assert found.zeros[:4] == pytest.approx(0)
    assert said.word == "stable"
    assert rate.rate == pytest.approx(np.log(0.98), abs=1e-6)
    assert rate.left_out == ""


def test_the_survivors_do_not_lift_the_curve():
    # The quiet samples die first: the plain mean of those left jumps up, each against itself doesn't.
    norms = 0.98 ** np.arange(FAR) * np.geomspace(1e-3, 1e3, SAMPLES)[:, None]
    norms[:8, 10:] = 0
    found = curve(table_of(norms))
    assert found.geometric_mean[10] > found.geometric_mean[9]
    assert np.allclose(found.log_ratio, np.arange(FAR) * np.log(0.98))


def test_where_most_samples_are_dead_the_gradient_is_gone():
    norms = powers(1.0)
    norms[:13, 20:] = 0
    found, rate, said = told(norms)
    assert np.isneginf(found.log_ratio[20:]).all()
    assert said.word == "vanishing"
    assert rate.horizon == 20
    assert "44 zero for most samples" in rate.left_out


def test_samples_without_any_gradient_are_left_out():
    norms = powers(0.9)
    norms[:20] = 0
    found = curve(table_of(norms))
    assert found.silent == 20
    assert found.samples.tolist() == [4] * FAR
    assert found.zeros.max() == 0
    assert np.allclose(found.log_ratio, curve(table_of(powers(0.9))).log_ratio, atol=1e-5)


def test_no_gradient_at_all_has_its_own_word():
    found, rate, said = told(np.zeros((SAMPLES, FAR)))
    assert said.word == "no gradient"
    assert f"every norm of {SAMPLES} samples is exactly zero" in said.reason
    assert np.isnan(rate.rate)
    assert len(found.distance) == 0


def test_nan_is_counted_and_left_out():
    norms = powers(0.9)
    table = table_of(norms)
    table["hidden"][(table["sample"] == 2) & (table["distance"] > 5)] = np.nan
    found = curve(table)
    assert found.invalid == FAR - 6
    assert found.samples[:6].tolist() == [SAMPLES] * 6
    assert found.samples[6:].tolist() == [SAMPLES - 1] * (FAR - 6)
    assert np.allclose(found.log_ratio, curve(table_of(norms)).log_ratio, atol=1e-5)


def test_long_samples_with_a_large_loss_do_not_bend_the_curve():
    # Half of the samples are long and a thousand times louder: pooled, the far end would rise.
    norms = powers(0.9)
    norms[:12, 30:] = np.nan
    norms[12:] *= 1000
    found = curve(table_of(norms))
    assert found.geometric_mean[30] > 10 * found.geometric_mean[29]
    assert np.allclose(found.log_ratio, np.arange(FAR) * np.log(0.9), atol=1e-5)
    assert found.samples.tolist() == [24] * 30 + [12] * 34


def test_distances_that_no_sample_shares_are_still_put_together():
    norms = np.full((2, 4), np.nan)
    norms[0, :2], norms[1, 2:] = (8, 4), (2, 1)
    assert np.exp(curve(table_of(norms)).log_ratio).tolist() == pytest.approx([1, 1 / 2, 1 / 4, 1 / 8])


def test_quantiles_are_of_all_norms_with_the_zeros():
    norms = powers(0.9, samples=40)
    norms[:4, 3:] = 0
    expected = np.quantile(norms, curves.QUANTILES, axis=0, method="inverted_cdf")
    assert np.array_equal(curve(table_of(norms)).quantiles, expected)


# -- trees, layers, states, steps --------------------------------------------------------------------


def test_in_a_tree_nodes_multiply_and_the_sum_over_a_depth_says_so():
    # A full binary tree with child maps g Q: every node at depth d has g^d, and there are 2^d of them.
    rows = [table_of(np.array([0.7 ** np.arange(6.0)]))[[depth] * 2**depth] for depth in range(6)]
    table = np.concatenate([*rows, *rows])
    table["sample"][len(table) // 2 :] = 1
    found = curve(table)
    assert found.branching
    assert found.positions.tolist() == [2 * 2**d for d in range(6)]
    assert found.samples.tolist() == [2] * 6
    assert np.allclose(found.geometric_mean, 0.7 ** np.arange(6))
    assert np.allclose(found.log_ratio, np.arange(6) * np.log(0.7))
    assert np.allclose(found.depth_sum, 1.4 ** np.arange(6))


def test_a_left_branching_tree_is_its_chain():
    assert not curve(table_of(powers(0.9))).branching


def test_the_top_layer_is_the_default():
    table = np.concatenate([table_of(powers(0.9), layer=0), table_of(powers(0.5), layer=1)])
    assert decay(curve(table)).rate == pytest.approx(np.log(0.5), abs=1e-5)
    assert decay(curve(table, layer=0)).rate == pytest.approx(np.log(0.9), abs=1e-5)
    assert curve(table).layer == 1


def test_the_terminal_adjoint_is_what_the_curve_is_of():
    plain = table_of(powers(0.9))
    dtype = [*plain.dtype.descr, ("hidden_terminal", "f8"), ("hidden_direct", "f8"), ("cell", "f8")]
    table = np.zeros(len(plain), dtype=dtype)
    for name in plain.dtype.names or ():
        table[name] = plain[name]
    table["hidden_terminal"], table["cell"] = plain["hidden"] ** 2, plain["hidden"]
    assert curves.states(table) == ("hidden", "cell")
    assert decay(curve(table)).rate == pytest.approx(2 * np.log(0.9), abs=1e-5)
    assert decay(curve(table, state="cell")).rate == pytest.approx(np.log(0.9), abs=1e-5)


def test_the_last_step_that_is_finite_is_the_default():
    table = np.concatenate([table_of(powers(0.9), 0), table_of(powers(0.5), 10), table_of(powers(0.1), 20)])
    assert curves.steps(table).tolist() == [0, 10, 20]
    assert curve(table).step == 20
    assert curve(table, step=0).step == 0
    table["hidden"][table["step"] == 20] = np.nan
    assert curves.last_step(table) == 10
    assert decay(curve(table)).rate == pytest.approx(np.log(0.5), abs=1e-5)


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda t: t, {"state": "hiden"}, "state: given 'hiden', expected hidden (did you mean hidden?)"),
        (lambda t: t, {"step": 7}, "step: given 7, expected a recorded one: 0"),
        (lambda t: t, {"layer": 3}, "layer: given 3, expected one of 0"),
        (lambda t: t[:0], {}, "has no rows"),
        (lambda t: t[["step", "hidden"]], {}, "lacks integer columns layer, sample, distance"),
        (lambda t: t.astype([(n, "i8") for n in t.dtype.names]), {}, "column hidden is int64"),
        (lambda t: t.astype([(n, "f8") for n in t.dtype.names]), {}, "lacks integer columns step"),
    ],
)
def test_what_can_not_be_had_is_said(change, arguments: dict, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        curve(change(table_of(powers(0.9))), **arguments)


# -- rates with noise --------------------------------------------------------------------------------


def test_the_slope_is_scipys_theil_sen():
    noise = 0.3 * np.random.default_rng(2).normal(size=40)
    norms = np.tile(np.exp(-0.2 * np.arange(40) + noise), (SAMPLES, 1))
    found = curve(table_of(norms))
    expected = scipy.stats.theilslopes(found.log_ratio, found.distance)[0]
    assert decay(found).rate == pytest.approx(expected)


def test_an_odd_first_distance_does_not_move_the_rate():
    norms = powers(0.9)
    norms[:, 0] *= 1e4
    norms[:, 40:45] *= 1e-3
    assert decay(curve(table_of(norms))).rate == pytest.approx(np.log(0.9), abs=2e-3)


def test_the_bootstrap_interval_covers_the_truth_about_as_often_as_it_says():
    covered = []
    for seed in range(120):
        random = np.random.default_rng(seed)
        slopes = -0.1 + 0.02 * random.normal(size=(30, 1))  # each sample has a rate of its own
        norms = np.exp(slopes * np.arange(20) + random.normal(size=(30, 1)) + 0.1 * random.normal(size=(30, 20)))
        found = decay(curve(table_of(norms)), resamples=200)
        covered.append(found.low <= -0.1 <= found.high)
    # binomial(120, 0.95) is below 105 one time in 1,000; a percentile interval is a little narrow
    assert 104 <= sum(covered) <= 120


def test_many_distances_are_thinned_evenly():
    found = decay(curve(table_of(powers(0.99, far=784))))
    assert found.used == 784
    assert found.rate == pytest.approx(np.log(0.99), abs=1e-6)


def test_one_sample_has_no_interval():
    found = decay(curve(table_of(powers(0.9, samples=1))))
    assert found.rate == pytest.approx(np.log(0.9), abs=1e-5)
    assert np.isnan(found.low)


# -- seeds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("df", [1, 2, 3, 4, 5, 9, 10, 29, 30, 101, 500])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_students_quantile_is_scipys(df: int, confidence: float):
    expected = scipy.stats.t.ppf((1 + confidence) / 2, df)
    assert curves.t_quantile(df, confidence) == pytest.approx(expected, rel=1e-9)


def test_the_interval_over_seeds_is_students():
    values = np.array([0.3, 0.5, 0.1, 0.9])
    found = curves.interval([*values, np.nan])
    low, high = scipy.stats.t.interval(0.95, 3, loc=values.mean(), scale=scipy.stats.sem(values))
    assert found is not None
    assert (found.mean, found.low, found.high, found.n) == pytest.approx((values.mean(), low, high, 4))


def test_one_value_has_no_interval_and_none_is_none():
    found = curves.interval([0.5])
    assert found is not None
    assert found.mean == 0.5
    assert np.isnan(found.low)
    assert curves.interval([np.nan]) is None


def seeds(*gammas: float):
    parts = [told(powers(g)) for g in gammas]
    reading = together(*zip(*parts, strict=True))
    assert reading is not None
    return reading


def test_the_rate_of_a_condition_is_the_mean_over_seeds():
    logs = np.log([0.5, 0.6, 0.7])
    found = seeds(0.5, 0.6, 0.7)
    low, high = scipy.stats.t.interval(0.95, 2, loc=logs.mean(), scale=scipy.stats.sem(logs))
    rate = found.decay
    assert (rate.rate, rate.low, rate.high) == pytest.approx((logs.mean(), low, high), abs=1e-5)
    assert np.allclose(found.curve.mean, np.arange(FAR) * logs.mean(), atol=1e-4)
    assert found.decay.far_ratio == pytest.approx(np.exp(63 * logs.mean()), rel=1e-3)
    assert found.decay.horizon == int(np.log(0.01) // logs.mean()) + 1 == 9
    assert found.verdict.word == "vanishing"


def test_equal_seeds_are_no_surer_than_float32():
    found = seeds(0.9, 0.9)
    assert found.decay.high - found.decay.low >= 2e-6 * (1 - 1e-9)


def test_with_one_seed_the_interval_is_over_samples():
    norms = powers(0.9) * np.exp(0.2 * np.random.default_rng(3).normal(size=(SAMPLES, FAR)))
    part = told(norms)
    found = together([part[0]], [part[1]], [part[2]])
    assert found is not None
    assert found.decay is part[1]
    assert found.decay.low < found.decay.rate < found.decay.high


def test_seeds_that_disagree_are_mixed_and_counted():
    found = seeds(0.5, 0.6, 1.0)
    assert found.verdict.word == "mixed"
    assert "2 vanishing, 1 stable" in found.verdict.reason
    assert found.words == ("vanishing", "vanishing", "stable")


def test_a_curve_that_one_seed_takes_to_zero_is_zero_on_the_geometric_mean():
    found = seeds(0.01, 0.9)
    assert np.isneginf(found.curve.mean[-1])
    assert found.decay.far_ratio == 0


def test_a_seed_without_gradient_counts_and_the_others_are_still_seen():
    gone = np.full((SAMPLES, FAR), -1.0)  # neither a norm nor a NaN that stands for "not there"
    parts = [told(powers(0.5)), told(powers(0.6)), told(gone)]
    found = together(*zip(*parts, strict=True))
    assert found is not None
    assert found.words == ("vanishing", "vanishing", "no gradient")
    assert "2 vanishing, 1 no gradient" in found.verdict.reason
    assert found.decay.rate == pytest.approx(np.log(0.3) / 2, abs=1e-5)
    assert len(found.curve.x) == FAR


def test_where_no_seed_has_a_gradient_that_is_the_word():
    parts = [told(np.full((SAMPLES, FAR), -1.0)), told(np.full((SAMPLES, FAR), -1.0))]
    found = together(*zip(*parts, strict=True))
    assert found is not None
    assert found.verdict == Verdict("no gradient", "no norm is finite")


def test_seeds_of_different_depth_are_compared_where_they_meet():
    parts = [told(powers(0.9, far=far)) for far in (10, 12)]
    found = together(*zip(*parts, strict=True))
    assert found is not None
    assert found.curve.x.tolist() == list(range(10))


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((-0.3121, -0.33, -0.2942), "-0.31 [-0.33, -0.29]"),
        ((-0.3121, -0.3130, -0.3114), "-0.312 [-0.313, -0.311]"),
        ((-0.031, -0.058, -0.0034), "-0.031 [-0.058, -0.003]"),  # not 0.00, which would be no difference
        ((0.0, -1e-6, 1e-6), "0 ± 1e-06"),
        ((0.5, float("nan"), float("nan")), "0.5"),
        ((-0.001, -0.4, 0.398), "0.00 [-0.40, 0.40]"),
        ((1234.5, 1000.0, 1469.0), "1234 [1000, 1469]"),
    ],
)
def test_numbers_are_said_with_the_decimals_they_deserve(numbers: tuple, text: str):
    assert curves.spoken(*numbers) == text
