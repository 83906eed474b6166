"""The word for a vanishing curve, and the reason in numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnn_research.curves.norms import Curve
from rnn_research.curves.rate import FEWEST, Decay, isolated, ratio

FALL = 1e-2
RISE = 1e2
FEW = 10
"""Applications, below which a `stable` curve is said to be over only so many: a steep rate needs more to show."""
WORDS = ("vanishing", "exploding", "mixed", "stable", "too short", "no gradient")


@dataclass(frozen=True)
class Verdict:
    """`word` is one of `WORDS`; `reason` says why, with the numbers."""

    word: str
    reason: str


def verdict(curve: Curve, decay: Decay, diverged_step: int | None = None) -> Verdict:
    """The word for `curve`, from fall = min_d n_d / n_0 and rise = max_d n_d / n_0 over all its distances:

    | word        | where                                                                            |
    |-------------|----------------------------------------------------------------------------------|
    | vanishing   | fall < 1e-2 and rise <= 1e2                                                      |
    | exploding   | rise > 1e2 and fall >= 1e-2; or it overflows before it can be measured (below)   |
    | mixed       | both                                                                             |
    | stable      | neither                                                                          |
    | too short   | fewer than 3 distances can be fitted, and the norm stays within float32          |
    | no gradient | no norm is a number, or at the smallest distance most are zero: no decay         |

    n is the typical norm (`Curve.log_ratio`), so a few samples that are zero, or very loud, don't change
    the word; nor do zeros that dead units explain (`rnn_research.curves.rate.isolated`). What overflows
    before it can be measured has no ratio and is exploding all the same: most norms are infinite at the
    smallest distance, or in a run that diverged (at `diverged_step`) all are NaN there or beyond it.

    The thresholds are of the whole curve and not per application: a rate of -0.05 is harmless over 8
    applications (0.67 of the norm is left) and fatal over 784 (1e-17).
    """
    overflow = _overflow(curve, diverged_step)
    if overflow:
        return Verdict("exploding", overflow)
    if not np.isfinite(curve.log_ratio[:1]).all() or not len(curve.log_ratio):
        return Verdict("no gradient", _silence(curve))
    if np.isnan(decay.rate):
        distances = f"{decay.used} distance{'s' * (decay.used != 1)}"
        return Verdict("too short", f"{distances} can be fitted, a rate needs {FEWEST}")
    plain = curve.log_ratio[~isolated(curve.log_ratio)]
    fall, rise = ratio(np.nanmin(plain)), ratio(np.nanmax(plain))
    words = {(True, False): "vanishing", (False, True): "exploding", (True, True): "mixed"}
    word = words.get((fall < FALL, rise > RISE), "stable")
    return Verdict(word, reason(curve.distance, curve.log_ratio, decay, curve.zeros))


def reason(distance: np.ndarray, log_ratio: np.ndarray, decay: Decay, zeros: np.ndarray | None = None) -> str:
    """How far the norm falls and rises, and how fast: "falls to 3.1e-09 of its value within 63 applications;
    rate -0.31 [-0.33, -0.30] per application, half-life 2.2"."""
    dead = isolated(log_ratio)
    said = _dead(distance[dead], None if zeros is None else zeros[dead])
    distance, log_ratio = distance[~dead], log_ratio[~dead]
    low, high = int(np.nanargmin(log_ratio)), int(np.nanargmax(log_ratio))
    fall, rise = ratio(log_ratio[low]), ratio(log_ratio[high])
    to = "below what float32 holds (or to exact zero)" if fall == 0 else f"to {fall:.2g} of its value"
    falls = f"falls {to} within {_applications(int(distance[low] - distance[0]))}"
    rises = f"rises to {rise:.2g} times its value within {_applications(int(distance[high] - distance[0]))}"
    moves = [said for said, true in ((falls, fall < FALL), (rises, rise > RISE)) if true]
    if not moves:
        span = int(distance[-1] - distance[0])
        over = f"over {'only ' if decay.moves and span < FEW else ''}{_applications(span)}"
        kept = fall > 0.995 and rise < 1.005
        moves = [f"keeps its value {over}" if kept else f"stays within {fall:.2g} to {rise:.2g} of its value {over}"]
    return f"{' and '.join(moves)}; {_rate(decay)}{said}"


def spoken(mean: float, low: float, high: float) -> str:
    """`mean [low, high]`, with as many decimals as the interval's width gives a meaning, and as many as it takes to
    see on which side of zero its ends are."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return f"{mean:.3g}"
    if high - low < 1e-5:
        return f"{round(mean, 6) + 0.0:.6g} ± {max(high - mean, mean - low):.0g}"
    decimals = int(np.clip(-np.floor(np.log10(high - low)), 2 if abs(mean) < 100 else 0, 6))
    if any(end != 0 and round(end, decimals) == 0 for end in (low, high)):
        decimals += 1
    return "{} [{}, {}]".format(*(f"{round(value, decimals) + 0.0:.{decimals}f}" for value in (mean, low, high)))


def _rate(decay: Decay) -> str:
    if decay.bounded:
        side = "at most" if decay.rate < 0 else "at least"
        return f"rate {side} {decay.rate:.2g} per application, where it leaves float32"
    rate = f"rate {spoken(decay.rate, decay.low, decay.high)} per application"
    if not decay.moves:
        return rate
    return f"{rate}, {'half-life' if decay.rate < 0 else 'doubling in'} {abs(decay.half_life):.2g}"


def _applications(count: int) -> str:
    return f"{count} application" if count == 1 else f"{count} applications"


def _dead(distance: np.ndarray, zeros: np.ndarray | None) -> str:
    """That most norms are exactly zero at `distance` alone, and how many."""
    if not len(distance):
        return ""
    where = f"distance{'s' * (len(distance) > 1)} {', '.join(map(str, distance))}"
    share = "most" if zeros is None else f"{100 * zeros.max():.0f}%"
    return f"; dead units: at {where} alone {share} of the norms are exactly zero"


def _overflow(curve: Curve, diverged_step: int | None) -> str:
    """How it overflowed before a ratio could be measured; empty where it didn't."""
    if np.isposinf(curve.log_ratio[:1]).any():
        return "most norms are infinite at the smallest distance already"
    if len(curve.distance) > 1 or curve.silent or diverged_step is None:
        return ""
    if not curve.invalid or curve.invalid < curve.positions.sum() or np.isneginf(curve.log_ratio).any():
        return ""
    beyond = f" beyond distance {curve.distance[0]}" if len(curve.distance) else ""
    return (
        f"the loss or its gradient overflowed before a norm could be measured: none{beyond} is finite at step "
        f"{curve.step}, and the run diverged at step {diverged_step}"
    )


def _silence(curve: Curve) -> str:
    if not len(curve.distance) and not curve.silent:
        return "no norm is finite"
    if not len(curve.distance):
        return f"every norm of {curve.silent} samples is exactly zero: their loss itself has no gradient"
    return "most norms are zero or not finite at the smallest distance already"
