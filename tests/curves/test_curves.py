"""Vanishing curves against algebra: a linear cell that scales the gradient by g has n_d = a g^d exactly."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from rnn_research import curves
from rnn_research.curves import Curve, Decay, Verdict, curve, decay, together, verdict
from rnn_research.curves.laws import smoothed
from rnn_research.curves.norms import linked
from rnn_research.statistics.intervals import interval

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
        (0.01, "vanishes"),
        (0.9, "vanishes"),
        (0.95, "weakens"),
        (0.99, "keeps"),
        (0.995, "keeps"),
        (1.0, "keeps"),
        (1.005, "keeps"),
        (1.05, "grows"),
        (1.5, "explodes"),
    ],
)
def test_the_word_for_g_to_the_d(g: float, word: str):
    # From distance 1 to 63: 0.9^62 = 1.5e-3, 0.95^62 = 0.04, 0.995^62 = 0.73, 1.05^62 = 20.6
    _, rate, said = told(powers(g))
    assert said.word == word
    assert said.length == 62
    assert said.sure == (g != 0.99)  # 0.99^62 = 0.54 is within a factor of 1.1 of a half
    if g > 0.1:
        assert rate.far_ratio == pytest.approx(g**62, rel=1e-4)


def test_an_orthogonal_cell_keeps_the_gradient():
    found, rate, said = told(powers(1.0))
    assert np.allclose(found.log_ratio, 0, atol=1e-6)
    assert rate.low <= 0 <= rate.high
    assert np.isnan(rate.r_squared)  # nothing varies, so nothing is explained
    assert rate.horizon is None
    assert rate.better == "either"
    assert said.reason.startswith("1 of the norm at distance 1 arrives over 62 applications")


def test_what_float32_underflows_is_vanishing_and_left_out_of_the_fit():
    found, rate, said = told(powers(0.01))
    assert said.word == "vanishes"
    assert rate.rate == pytest.approx(np.log(0.01), abs=1e-5)
    assert found.zeros[-1] == 1
    assert np.isneginf(found.log_ratio[-1])
    assert rate.far.under
    assert 0 < rate.far_ratio < 1e-30  # a bound
    assert rate.used < 20
    assert "float32" in rate.left_out
    assert re.match(r"less than \d?e-\d\d of the norm at distance 1 arrives over 62 applications, below", said.reason)


def test_what_overflows_explodes():
    found, rate, said = told(powers(100.0))
    assert np.isposinf(found.log_ratio[-1])
    assert said.word == "explodes"
    assert rate.rate == pytest.approx(np.log(100), abs=1e-5)
    assert "infinite" in rate.left_out


@pytest.mark.parametrize(("g", "word"), [(1e-20, "vanishes"), (1e25, "explodes")])
def test_a_curve_that_leaves_float32_at_once_has_a_bound(g: float, word: str):
    _, rate, said = told(powers(g))
    assert rate.bounded
    assert said.word == word
    # the bound is on the near side of the truth
    assert (rate.rate >= np.log(g)) if g < 1 else (rate.rate <= np.log(g))
    assert rate.low <= rate.rate <= rate.high
    assert ("at most" if g < 1 else "at least") in said.reason


@pytest.mark.parametrize(
    ("g", "fraction", "expected"), [(0.5, 1e-2, 8), (0.9, 1e-2, 45), (0.9, 0.5, 8), (0.99, 1e-2, None)]
)
def test_the_horizon_is_the_first_distance_below_the_fraction(g: float, fraction: float, expected: int | None):
    # of the norm at distance 1, so that d - 1 applications have acted
    assert decay(curve(table_of(powers(g))), fraction).horizon == expected


def test_the_far_ratio_is_of_the_ends():
    assert told(powers(0.9))[1].far_ratio == pytest.approx(0.9**62, rel=1e-4)


def test_a_power_law_is_told_from_an_exponential():
    noise = np.exp(0.01 * np.random.default_rng(1).normal(size=(SAMPLES, FAR)))
    found = decay(curve(table_of((1.0 + np.arange(FAR)) ** -1.5 * noise)))
    assert found.better == "power law"
    assert found.power == pytest.approx(1.5, abs=0.02)


def test_the_reason_has_the_numbers():
    reason = told(powers(0.6))[2].reason
    assert "1.8e-14 of the norm at distance 1 arrives over 62 applications" in reason
    assert "rate -0.510826" in reason
    assert "half-life 1.4" in reason


@pytest.mark.parametrize("far", [1, 2, 3])
def test_too_few_distances_are_too_short(far: int):
    _, rate, said = told(powers(0.5, far=far))
    assert np.isnan(rate.rate)
    assert said.word == "too short"


@pytest.mark.parametrize("end", [1e-2, 0.98, 2e3])
def test_a_curve_that_falls_and_rises_says_so_wherever_it_ends(end: float):
    down = np.geomspace(1, 1e-4, 20)
    said = told(np.tile(np.concatenate([[1], down, np.geomspace(1e-4, end, 20)[1:]]), (SAMPLES, 1)))[2]
    assert said.word == "falls and rises"
    assert re.search(r"on the way it falls to 0\.000[12]\d? at distance (19|20|21)", said.reason)
    assert said.reason.startswith(f"{end:g} ")
    risen = told(1 / np.tile(np.concatenate([[1], down, np.geomspace(1e-4, end, 20)[1:]]), (SAMPLES, 1)))
    assert risen[2].word == "rises and falls"
    assert (risen[1].horizon is None) == (end < 100)


def test_the_interval_has_log_g_where_a_sample_is_subnormal():
    # float32 holds 2e-42 to 5%: with one seed such a sample bent the interval of the others away from log g
    norms = powers(0.9, samples=4, far=6)
    with np.errstate(under="ignore"):
        norms[0] = (2e-42 * 0.9 ** np.arange(6.0)).astype(np.float32)
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
    assert "5 under 1e-36" in rate.left_out
    assert verdict(found, rate).word == "too short"


@pytest.mark.parametrize("far", [3, 20])
def test_infinite_from_the_start_explodes(far: int):
    found, _, said = told(np.full((SAMPLES, far), np.inf))
    assert said == Verdict("explodes", "most norms are infinite at the smallest distance already")
    assert np.isposinf(found.log_ratio[0])


def test_all_nan_is_an_overflow_only_in_a_run_that_diverged():
    gone = curve(table_of(np.full((SAMPLES, FAR), -1.0)))  # neither a norm nor a NaN that stands for "not there"
    assert verdict(gone, decay(gone)).word == "no gradient"
    said = verdict(gone, decay(gone), diverged_step=0)
    assert said.word == "explodes"
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
    assert said.word == "explodes"
    assert "none beyond distance 0 is finite" in said.reason


# -- exact zeros: dead units, or a gradient that is gone ---------------------------------------------


def with_zeros(near: list[float], *zero: int) -> np.ndarray:
    """Norms that are `near` for all samples, with 80% zeros at the distances `zero`."""
    norms = np.tile(np.array(near), (20, 1))
    norms[:16, list(zero)] = 0
    return norms


@pytest.mark.parametrize("zero", [(30,), (30, 31), tuple(range(20, 50))])
def test_dead_units_at_some_distances_are_no_fall(zero: tuple[int, ...]):
    found, rate, said = told(with_zeros([1.0] * 64, *zero))
    assert np.isneginf(found.log_ratio[list(zero)]).all()
    assert said.word == "keeps"
    assert said.reason.startswith("1 of the norm at distance 1 arrives over 62 applications")
    where = f"distance{'s' * (len(zero) > 1)} {', '.join(map(str, zero[:5]))}"
    assert f"; dead units: at {where}" in said.reason
    assert said.reason.endswith(" alone up to 80% of the samples are exactly zero")
    assert rate.horizon is None
    assert rate.far_ratio == pytest.approx(1)


@pytest.mark.parametrize("drop", [-4.5, -3.0, -1.0, 3.0])
def test_one_drop_after_distance_1_has_no_rate(drop: float):
    noise = 0.05 * np.random.default_rng(0).normal(size=(20, 64))
    _, rate, said = told(np.exp(noise + np.where(np.arange(64) > 1, drop, 0.0)))
    assert rate.far_ratio == pytest.approx(np.exp(drop), rel=0.1)
    assert not rate.holds
    assert "no single rate" in said.reason
    assert "half-life" not in said.reason


@pytest.mark.parametrize("dead", [1, 2, 3, 6])
@pytest.mark.parametrize("rate", [0.0, -0.02])
def test_nothing_is_said_to_arrive_from_where_all_is_zero(dead: int, rate: float):
    """Too few distances to call it gone, of one run and of seeds together: the rest is judged, and these are said."""
    near = np.exp(rate * np.arange(64))
    part = told(with_zeros(near.tolist(), *range(64 - dead, 64)))
    both = whole([part, part])
    assert both is not None
    for found, said in ((part[1], part[2]), (both.decay, both.verdict)):
        assert said.word == ("keeps" if rate == 0 else "weakens")
        assert found.far_ratio == pytest.approx(np.exp(rate * (62 - dead)))
        assert f"arrives over {62 - dead} applications" in said.reason
        assert f"exactly zero for most samples from distance {64 - dead} on" in said.reason
        assert said.length == 62 - dead


@pytest.mark.parametrize(
    ("near", "zero", "word"),
    [
        ([1.0] * 64, range(57, 64), "gone"),  # the whole last tenth
        ([1.0] * 64, range(1, 64), "gone"),  # a detached state
        ([1.0, 1.0, 1.0, 1.0], (1, 2, 3), "gone"),  # all that there is but the readout's own
        ([1.0, 1.0, 1.0, 1.0, 1.0], (2, 3, 4), "gone"),
        ([1.0, 1.0, 1e-4, 1e-8], (), "vanishes"),  # W_hh x 0.01 on sequences of length 4
        ([1.0, 1e-20, 1e-30, 1e-42, 0.0, 0.0, 0.0], (), "vanishes"),  # float32 holds no more
    ],
)
def test_gone_is_what_is_zero_at_once_and_vanishes_what_was_on_its_way(near: list[float], zero, word: str):
    _, rate, said = told(with_zeros(near, *zero))
    assert said.word == word
    assert (rate.far_ratio == 0) == (word == "gone")
    if word == "gone":
        assert f"exactly zero from distance {min(zero)} to {max(zero)} in 80% of the samples" in said.reason


def test_dead_units_of_a_short_curve_bound_no_rate():
    _, rate, said = told(with_zeros([1.0, 1.0, 1.0, 1.0], 3))
    assert not rate.bounded
    assert said.word == "too short"


def whole(parts):
    """What the seeds say together."""
    found, rates, words = zip(*parts, strict=True)
    return together([curves.summary(one) for one in found], rates, words)


def test_seeds_whose_last_distance_is_dead_keep():
    parts = [told(with_zeros([1.0] * 64, 63)), told(with_zeros([1.0] * 64, 63))]
    found = whole(parts)
    assert found is not None
    assert found.verdict.word == "keeps"
    assert found.decay.horizon is None
    assert found.decay.far_ratio == pytest.approx(1)


def test_a_word_over_few_applications_is_said_to_be():
    assert "over only 5 applications" in told(powers(0.55, far=7))[2].reason
    assert "over only 5 applications" in told(powers(1.0, far=7))[2].reason
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
    assert said.word == "vanishes"
    assert "96% fall (to 0.0015), 4% rise" not in said.reason  # one in 24 is none to speak of
    assert rate.far_ratio == pytest.approx(0.9**62, rel=1e-4)
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
    assert said.word == "weakens"
    assert "21% of the samples are exactly zero at the far end" in said.reason
    assert rate.far_ratio == pytest.approx(0.98**62, rel=1e-5)
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
    norms[:20, 20:] = 0
    found, rate, said = told(norms)
    assert np.isneginf(found.log_ratio[20:]).all()
    assert said.word == "gone"
    assert "exactly zero from distance 20 to 63 in 83% of the samples" in said.reason
    assert rate.horizon == 20
    assert "44 zero for most samples" in rate.left_out


def test_where_half_of_the_samples_are_dead_samples_differ():
    norms = powers(1.0)
    norms[:13, 20:] = 0
    said = told(norms)[2]
    assert said.word == "samples differ"
    assert "samples: 54% fall (to exact zero), 46% keep (to 1, 0 per application)" in said.reason


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


def test_all_layers_together_are_the_default():
    table = np.concatenate([table_of(powers(0.9), layer=0), table_of(powers(0.5), layer=1)])
    assert decay(curve(table, layer=1)).rate == pytest.approx(np.log(0.5), abs=1e-5)
    assert decay(curve(table, layer=0)).rate == pytest.approx(np.log(0.9), abs=1e-5)
    assert curve(table, layer=1).layer == 1
    assert curve(table).layer is None
    expected = np.log(np.hypot(powers(0.9), powers(0.5)))
    assert np.allclose(curve(table).log_norm, expected, atol=1e-9)


def test_a_lower_layer_is_further_from_the_loss_and_its_own_last_state_is_where_recurrence_starts():
    # as a stack of layers is recorded: at one position the lower one's distance is larger by the layer above
    lower, upper = 0.9 * np.ones((SAMPLES, FAR)), powers(0.5, far=FAR - 1)
    lower[:, 1] = 7.0  # at the loss's own position, where only the layer above has acted
    lower[:, 0] = np.nan
    table = np.concatenate([table_of(lower, layer=0), table_of(upper, layer=1)])
    found = curve(table)
    assert found.distance.tolist() == list(range(FAR - 1))
    assert np.allclose(np.exp(found.log_norm), np.hypot(lower[:, 1:], upper))
    alone = decay(curve(table, layer=0))
    assert (alone.far.first, alone.far.last) == (2, FAR - 1)
    assert alone.far_ratio == pytest.approx(1)


def test_layers_that_lack_positions_are_refused_together_and_read_alone():
    table = np.concatenate([table_of(powers(0.9), layer=0), table_of(powers(0.5, far=9), layer=1)])
    with pytest.raises(ValueError, match="layers have different positions"):
        curve(table)
    assert decay(curve(table, layer=1)).rate == pytest.approx(np.log(0.5), abs=1e-5)


def test_positions_of_layers_are_matched_in_whatever_order_they_are_recorded():
    # a tree: two nodes at each depth but the root, in each of two layers
    depth = np.array([0, 1, 1, 2, 2])
    norms = np.array([1.0, 3.0, 5.0, 7.0, 11.0])
    one, other = table_of(norms[None]), table_of(2 * norms[None], layer=1)
    one["distance"], other["distance"] = depth, depth
    table = np.concatenate([other, one])
    assert np.allclose(sorted(np.exp(curve(table).log_norm[0])), np.sqrt(5) * np.sqrt([1.0, 15.0, 77.0]))


def of_parts(**columns: np.ndarray) -> np.ndarray:
    """A table with a column of norms a keyword."""
    plain = table_of(powers(1.0))
    table = np.zeros(len(plain), dtype=[*plain.dtype.descr[:4], *((name, "f8") for name in columns)])
    for name in ("step", "layer", "sample", "distance"):
        table[name] = plain[name]
    for name, norms in columns.items():
        table[name] = norms.ravel()
    return table


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1.0, 1e170, 1e300])
def test_the_joint_norm_is_the_root_of_the_sum_of_squares_at_any_scale(scale: float):
    hidden, cell = scale * np.full((SAMPLES, FAR), 3.0), scale * np.full((SAMPLES, FAR), 4.0)
    found = curve(of_parts(hidden=hidden, cell=cell))
    assert found.parts == ("hidden", "cell")
    assert np.allclose(np.exp(found.log_norm - np.log(scale)), 5.0)


def test_an_lstm_whose_cell_keeps_the_gradient_keeps_it_though_hidden_drops_at_the_readout():
    d = np.arange(float(FAR))
    hidden = np.where(d == 0, 1.0, 0.019) * np.ones((SAMPLES, 1))
    cell = 0.09 * np.exp(-0.001 * d) * np.ones((SAMPLES, 1))
    table = of_parts(hidden=hidden, cell=cell, hidden_direct=hidden, cell_direct=cell, hidden_recurrent=hidden,
                     cell_recurrent=cell, recurrent_before=hidden, recurrent_after=hidden)  # fmt: skip
    assert curves.states(table) == ("hidden", "cell")
    found = curve(table)
    rate = decay(found)
    assert verdict(found, rate).word == "keeps"
    assert rate.horizon is None
    assert rate.far_ratio == pytest.approx(
        np.hypot(0.09 * np.exp(-0.063), 0.019) / np.hypot(0.09 * np.exp(-0.001), 0.019)
    )
    alone = curve(table, state="hidden")
    assert verdict(alone, decay(alone)).word == "keeps"  # from distance 1 on, where no readout is


def test_norms_of_one_kind_only_are_put_together():
    terminal = of_parts(hidden=powers(0.5), cell=powers(0.5), hidden_terminal=powers(0.9), cell_terminal=powers(0.9))
    assert curve(terminal).terminal
    assert decay(curve(terminal)).rate == pytest.approx(np.log(0.9), abs=1e-5)
    half = of_parts(hidden=powers(0.5), cell=powers(0.5), hidden_terminal=powers(0.9))
    assert not curve(half).terminal
    assert decay(curve(half)).rate == pytest.approx(np.log(0.5), abs=1e-5)


def test_columns_of_the_probe_that_are_no_states_are_none():
    table = of_parts(hidden=powers(0.9), recurrent_before=powers(0.5), adjoint_after=powers(0.5))
    assert curves.states(table) == ("hidden",)
    named = of_parts(recurrent=powers(0.9), recurrent_direct=powers(0.9), recurrent_recurrent=powers(0.9))
    assert curves.states(named) == ("recurrent",)  # a user's own state of that name


def test_the_terminal_adjoint_is_what_the_curve_is_of():
    plain = table_of(powers(0.9))
    dtype = [*plain.dtype.descr, ("hidden_terminal", "f8"), ("hidden_direct", "f8"), ("cell", "f8")]
    table = np.zeros(len(plain), dtype=dtype)
    for name in plain.dtype.names or ():
        table[name] = plain[name]
    table["hidden_terminal"], table["cell"] = plain["hidden"] ** 2, plain["hidden"]
    assert curves.states(table) == ("hidden", "cell")
    assert decay(curve(table, state="hidden")).rate == pytest.approx(2 * np.log(0.9), abs=1e-5)
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
        (lambda t: t, {"state": "hiden"}, "state: given 'hiden', expected joint, hidden (did you mean hidden?)"),
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
    import scipy.stats  # takes half a second

    noise = 0.3 * np.random.default_rng(2).normal(size=40)
    norms = np.tile(np.exp(-0.2 * np.arange(40) + noise), (SAMPLES, 1))
    found = curve(table_of(norms))
    expected = scipy.stats.theilslopes(found.log_ratio[1:], found.distance[1:])[0]
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


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 20])
def test_a_curve_is_smoothed_by_the_median_of_as_many_on_both_sides(count: int):
    log = np.random.default_rng(count).normal(size=(3, count))
    reach = [min(2, at, count - 1 - at) for at in range(count)]
    expected = [np.median(log[:, at - far : at + far + 1], axis=1) for at, far in enumerate(reach)]
    assert np.array_equal(smoothed(log), np.stack(expected, axis=1))


def test_many_distances_are_thinned_evenly():
    found = decay(curve(table_of(powers(0.99, far=784))))
    assert found.used == 783
    assert found.rate == pytest.approx(np.log(0.99), abs=1e-6)


def test_one_sample_has_no_interval():
    found = decay(curve(table_of(powers(0.9, samples=1))))
    assert found.rate == pytest.approx(np.log(0.9), abs=1e-5)
    assert np.isnan(found.low)


# -- seeds -------------------------------------------------------------------------------------------


def seeds(*gammas: float):
    parts = [told(powers(g)) for g in gammas]
    reading = whole(parts)
    assert reading is not None
    return reading


def test_the_rate_of_a_condition_is_the_mean_over_seeds():
    import scipy.stats

    logs = np.log([0.5, 0.6, 0.7])
    found = seeds(0.5, 0.6, 0.7)
    low, high = scipy.stats.t.interval(0.95, 2, loc=logs.mean(), scale=scipy.stats.sem(logs))
    rate = found.decay
    assert (rate.rate, rate.low, rate.high) == pytest.approx((logs.mean(), low, high), abs=1e-5)
    assert np.allclose(found.curve.mean, (np.arange(FAR) - 1) * logs.mean(), atol=1e-4)
    assert found.decay.far_ratio == pytest.approx(np.exp(62 * logs.mean()), rel=1e-3)
    ends = scipy.stats.t.interval(0.95, 2, loc=62 * logs.mean(), scale=scipy.stats.sem(62 * logs))
    assert np.log([found.decay.far.low, found.decay.far.high]) == pytest.approx(ends, rel=1e-3)
    assert found.decay.horizon == int(np.log(0.01) // logs.mean()) + 2 == 10
    assert found.verdict.word == "vanishes"


def test_equal_seeds_are_no_surer_than_float32():
    found = seeds(0.9, 0.9)
    assert found.decay.high - found.decay.low >= 2e-6 * (1 - 1e-9)


def test_with_one_seed_the_interval_is_over_samples():
    norms = powers(0.9) * np.exp(0.2 * np.random.default_rng(3).normal(size=(SAMPLES, FAR)))
    part = told(norms)
    found = whole([part])
    assert found is not None
    assert found.decay is part[1]
    assert found.decay.low < found.decay.rate < found.decay.high


def test_seeds_that_disagree_say_so_and_are_counted():
    found = seeds(0.5, 0.6, 1.0)
    assert found.verdict.word == "seeds disagree"
    assert found.verdict.reason.startswith("seeds: vanishes in 2, keeps in 1")
    assert found.words == ("vanishes", "vanishes", "keeps")


def test_seeds_of_one_law_near_a_bound_are_borderline_and_do_not_disagree():
    random = np.random.default_rng(0)
    words = []
    for _ in range(16):
        gammas = np.exp((np.log(0.011) + 0.3 * random.normal(size=3)) / 62)
        words.append(seeds(*gammas).verdict)
    assert sum({said.word, *said.also} == {"vanishes", "weakens"} for said in words) > 13
    assert not any(said.word == "seeds disagree" for said in words)


def test_a_seed_that_is_gone_is_counted_and_not_averaged():
    gone = np.zeros((SAMPLES, FAR))
    gone[:, 0] = 1
    parts = [told(powers(np.exp(-0.05) * (1 + 1e-3 * index))) for index in range(4)] + [told(gone)]
    found = whole(parts)
    assert found is not None
    assert found.decay.rate == pytest.approx(-0.05 + 1.5e-3, abs=1e-4)
    assert not found.decay.bounded
    assert found.decay.beyond["gone"] == 1
    assert found.verdict.word == "seeds disagree"
    assert "; 1 of 5 gone" in found.verdict.reason
    assert "seeds: weakens in 4, gone in 1" in found.verdict.reason
    assert found.decay.far_ratio == pytest.approx(np.exp(62 * (-0.05 + 1.5e-3)), rel=1e-2)
    assert np.isfinite(found.curve.mean).all()


def test_of_bounds_alone_the_weakest_holds_for_all():
    parts = [told(powers(g)) for g in (1e-20, 1e-25, 1e-30)]
    found = whole(parts)
    assert found is not None
    assert found.decay.bounded
    assert found.decay.rate == max(rate.rate for _, rate, _ in parts)


def test_equal_seeds_have_no_interval_and_are_near_a_bound_all_the_same():
    assert np.isnan(interval([0.25, 0.25]).low)  # type: ignore[union-attr]
    assert np.isnan(interval([0.1 + 0.2, 0.3]).low)  # type: ignore[union-attr]
    g = 0.49 ** (1 / 62)
    said = seeds(g, g).verdict
    assert (said.word, said.also) == ("weakens", ("keeps",))


def test_a_curve_that_one_seed_takes_to_zero_goes_on_over_the_others():
    found = seeds(0.01, 0.9)
    assert np.isfinite(found.curve.mean).all()
    assert found.decay.far_ratio == pytest.approx(0.9**62, rel=1e-3)
    assert found.verdict.word == "vanishes"


def test_a_seed_without_gradient_counts_and_the_others_are_still_seen():
    gone = np.full((SAMPLES, FAR), -1.0)  # neither a norm nor a NaN that stands for "not there"
    parts = [told(powers(0.5)), told(powers(0.6)), told(gone)]
    found = whole(parts)
    assert found is not None
    assert found.words == ("vanishes", "vanishes", "no gradient")
    assert "vanishes in 2, no gradient in 1" in found.verdict.reason
    assert found.decay.rate == pytest.approx(np.log(0.3) / 2, abs=1e-5)
    assert len(found.curve.x) == FAR


def test_where_no_seed_has_a_gradient_that_is_the_word():
    parts = [told(np.full((SAMPLES, FAR), -1.0)), told(np.full((SAMPLES, FAR), -1.0))]
    found = whole(parts)
    assert found is not None
    assert found.verdict == Verdict("no gradient", "no norm is finite")


def test_seeds_of_different_depth_are_compared_where_they_meet():
    parts = [told(powers(0.9, far=far)) for far in (10, 12)]
    found = whole(parts)
    assert found is not None
    assert found.curve.x.tolist() == list(range(12))
    assert found.curve.seeds is not None
    assert found.curve.seeds.tolist() == [2] * 10 + [1] * 2
    assert found.curve.mean == pytest.approx(np.log(0.9) * (np.arange(12) - 1))
    assert (found.decay.far.last, found.decay.far_ratio) == (9, pytest.approx(0.9**8))
    assert found.verdict.length == 8


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((-0.3121, -0.33, -0.2942), "-0.31 [-0.33, -0.29]"),
        ((-0.3121, -0.3130, -0.3114), "-0.312 [-0.313, -0.311]"),
        ((-0.0149, -0.02, -0.0098), "-0.015 [-0.020, -0.010]"),  # two digits, so that 0.0149 is not 0.01
        ((-0.031, -0.058, -0.0034), "-0.031 [-0.058, -0.003]"),  # not 0.00, which would be no difference
        ((0.0, -1e-6, 1e-6), "0 ± 1e-06"),
        ((0.5, float("nan"), float("nan")), "0.5"),
        ((-0.001, -0.4, 0.398), "0.00 [-0.40, 0.40]"),
        ((1234.5, 1000.0, 1469.0), "1234 [1000, 1469]"),
    ],
)
def test_numbers_are_said_with_the_decimals_they_deserve(numbers: tuple, text: str):
    assert curves.format_interval(*numbers) == text


def test_weights_together_give_what_each_gives_alone():
    """Whatever samples they leave at the far distances."""
    random = np.random.default_rng(0)
    logs = random.normal(size=(5, 9))
    for sample, reach in enumerate((9, 9, 6, 4, 2)):
        logs[sample, reach:] = np.nan
    weights = np.concatenate([random.integers(0, 3, size=(20, 5)), np.zeros((1, 5))]).astype(float)
    found = linked(logs, weights)
    assert len({row.tobytes() for row in np.isnan(found)}) > 2
    np.testing.assert_allclose(found, [linked(logs, row) for row in weights], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_a_chains_table_gives_what_its_rows_in_any_order_give(seed: int):
    """Read as one array, and row by row: with zeros, infinities and samples of any number."""
    draw = np.random.default_rng(seed)
    norms = np.exp(draw.normal(size=(draw.integers(1, 9), draw.integers(1, 40))))
    for value in (0.0, np.inf):
        norms[draw.random(norms.shape) < draw.choice([0.0, 0.1, 0.6])] = value
    table = table_of(norms)
    table["sample"] = draw.permutation(50)[table["sample"]]
    one, other = curve(table), curve(draw.permutation(table))
    for field in dataclasses.fields(one):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        assert np.allclose(ours, theirs, rtol=1e-12, equal_nan=True) if isinstance(ours, np.ndarray) else ours == theirs
    far = [curves.typical(found) for found in (one, other)]
    for name in ("far", "low", "high", "error", "spread"):
        assert np.isclose(*(getattr(seen, name) for seen in far), rtol=1e-9, atol=1e-9, equal_nan=True), name
