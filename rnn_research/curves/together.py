"""What the seeds of a condition say together: a common curve, a common far ratio and rate, a common word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rnn_research.curves.bounds import DISAGREE, LADDER
from rnn_research.curves.far_ratio import FarRatio
from rnn_research.curves.laws import Law, law
from rnn_research.curves.norms import linked
from rnn_research.curves.rate import RESOLUTION, Decay, extremes, horizon, ratio
from rnn_research.curves.samples import SampleGroup
from rnn_research.curves.summary import CurveSummary
from rnn_research.curves.typical import far_end
from rnn_research.curves.verdicts import Verdict, judged
from rnn_research.statistics.intervals import (
    SEEDS,
    Band,
    Interval,
    at,
    band,
    half_width,
    half_widths,
    interval,
    t_quantile,
)

TWO_SIDED = 1.96
"""Standard errors on either side that hold 95% of a normal distribution."""


@dataclass(frozen=True, eq=False)
class Reading:
    """The vanishing curve of one condition at one step.

    `curve` is the mean over seeds of the typical curve relative to distance 1 (`CurveSummary.log`), of the seeds whose
    far ratio is a number (where some are); and `depth_sum`, in trees, of `CurveSummary.log_depth_sum`. `decay` has the
    mean rate and far ratio with their intervals over seeds (with one seed: over samples), and the law and horizon of
    the mean curve. `words` are the seeds' own.
    """

    curve: Band
    depth_sum: Band | None
    decay: Decay
    verdict: Verdict
    words: tuple[str, ...]


def together(curves: Sequence[CurveSummary], decays: Sequence[Decay], verdicts: Sequence[Verdict]) -> Reading | None:
    """The reading of a condition from its seeds'; None where there is no seed, or they share no distance.

    A seed without any gradient, or too short for a verdict, counts with its word alone; the curve is of the others.
    """
    speaking = [index for index, curve in enumerate(curves) if len(curve.distance)] or list(range(len(curves)))
    speaking = [index for index in speaking if verdicts[index].word != "too short"] or speaking
    arriving = [index for index in speaking if 0 < decays[index].far_ratio < np.inf and not decays[index].far.under]
    drawn = arriving or speaking  # what sinks out of float32 is counted, and not averaged with what doesn't
    shared = _band([curves[index].distance for index in drawn], [curves[index].log for index in drawn])
    if shared is None:
        return None
    branching = any(curve.branching for curve in curves)
    sums = [curves[index].log_depth_sum for index in drawn]
    depth_sum = band([curves[index].distance for index in drawn], sums) if branching else None
    words = tuple(verdict.word for verdict in verdicts)
    if len(curves) == 1 or not len(shared.x):
        return Reading(shared, depth_sum, decays[0], verdicts[0], words)
    own = [decays[index] for index in speaking]
    judged_to = _to_common([curves[index] for index in speaking], own)
    common = _decay(shared, judged_to)
    verdict = _verdict(common, decays, verdicts)
    if short := len(own) - len(judged_to):
        said = f"{short} of {len(own)} seeds end before distance {common.far.last}, and are not in this"
        verdict = replace(verdict, reason=f"{verdict.reason}; {said}")
    return Reading(shared, depth_sum, common, verdict, words)


def _band(xs: Sequence[np.ndarray], ys: Sequence[np.ndarray]) -> Band | None:
    """The seeds' curves together: at each distance of those that have a norm there, each compared with itself."""
    plain = band(xs, ys)
    if plain is None or not len(plain.x):
        return plain
    rows = at(plain.x, xs, ys)
    finite = np.where(np.isfinite(rows), rows, np.nan)
    mean = linked(finite)
    zero = np.flatnonzero(np.all(np.where(np.isnan(finite), 0.0, finite) == 0, axis=0) & np.isfinite(mean))
    mean = mean - mean[zero[0]] if len(zero) else mean
    lost = np.where(np.isposinf(rows).any(0), np.inf, np.where(np.isneginf(rows).any(0), -np.inf, np.nan))
    mean = np.where(np.isnan(mean), lost, mean)
    half = np.where(np.sum(~np.isnan(finite), axis=0) >= SEEDS, half_widths(finite), np.nan)
    return replace(plain, mean=mean, low=mean - half, high=mean + half)


def _decay(shared: Band, decays: Sequence[Decay]) -> Decay:
    first, whole = decays[0], _far(shared, decays)
    inside = (shared.x >= whole.first) & (shared.x <= whole.last)
    x, y = shared.x[inside], shared.mean[inside]
    half = (shared.high - shared.mean)[inside] / (t_quantile(len(decays) - 1) if len(decays) > 1 else 1)
    error = float(np.sqrt(np.mean(half[np.isfinite(half)] ** 2))) if np.isfinite(half).any() else 0.0
    measured = _measured(decays)
    return replace(
        first,
        **_rate(decays, measured),
        r_squared=_mean([decay.r_squared for decay in measured]),
        horizon=horizon(x, y, first.fraction, whole.log),
        far=whole,
        law=_law(x, y, error, measured),
        used=max(decay.used for decay in measured or decays) if whole.ratio > 0 else first.used,
        left_out="; ".join(dict.fromkeys(decay.left_out for decay in decays if decay.left_out)),
        power=_mean([decay.power for decay in measured]),
        aic_exponential=float(np.nansum([decay.aic_exponential for decay in measured])),
        aic_power=float(np.nansum([decay.aic_power for decay in measured])),
        seeds=len(decays),
        sunk=sum(decay.far.under for decay in decays) if not whole.under else 0,
    )


def _measured(decays: Sequence[Decay]) -> list[Decay]:
    """The decays whose rates have a mean: of the seeds where some gradient arrives, as the far ratio and the law are;
    where none does, of those that are gone or overflow."""
    fitted = [decay for decay in decays if np.isfinite(decay.rate) and not decay.bounded]
    if any(0 < decay.far_ratio < np.inf for decay in decays):
        return [decay for decay in fitted if 0 < decay.far_ratio < np.inf]
    return fitted


def _law(x: np.ndarray, y: np.ndarray, error: float, measured: Sequence[Decay]) -> Law:
    """The law of the mean curve over as many distances as the seeds' own are fitted over."""
    most = max((decay.used for decay in measured), default=0)
    return law(x[:most], y[:most], error)


def _rate(decays: Sequence[Decay], measured: Sequence[Decay]) -> dict[str, Any]:
    """The mean rate of the seeds that have one, with its interval; of bounds the weakest, which holds for all."""
    bounds = [decay for decay in decays if decay.bounded]
    beyond = {
        "gone": sum(decay.far_ratio == 0 and decay not in measured for decay in decays),
        "overflowed": sum(np.isinf(decay.far_ratio) and decay not in measured for decay in decays),
    }
    if not measured:
        weakest = max(bounds, key=lambda decay: -abs(decay.rate)) if bounds else decays[0]
        alike = len({decay.rate < 0 for decay in bounds}) < 2 and len(bounds) == len(decays)
        kept = {"rate": weakest.rate, "low": weakest.low, "high": weakest.high, "bounded": bool(bounds)}
        return kept | {"beyond": {} if alike else beyond}
    rates = [decay.rate for decay in measured]
    found = interval(rates, RESOLUTION) or Interval(float("nan"), float("nan"), float("nan"), 0)
    low, high = found.low, found.high
    if np.isnan(low):  # one seed, or equal ones: what their samples say
        low, high = (pick(ends) for pick, ends in zip((min, max), _ends(measured), strict=True))
    low, high = min(low, found.mean - RESOLUTION), max(high, found.mean + RESOLUTION)
    return {"rate": found.mean, "low": low, "high": high, "bounded": False, "beyond": beyond}


def _ends(decays: Sequence[Decay]) -> tuple[list[float], list[float]]:
    return [decay.low for decay in decays], [decay.high for decay in decays]


def _to_common(curves: Sequence[CurveSummary], decays: Sequence[Decay]) -> list[Decay]:
    """The decays with far ratios at the farthest distance that more than half of the seeds are judged to, of those:
    ratios over different lengths have no mean, and one short seed does not cut the others short."""
    last = sorted((decay.far.last for decay in decays), reverse=True)[len(decays) // 2]
    found = []
    for curve, decay in zip(curves, decays, strict=True):
        far = decay.far
        if 0 < far.last < last and 0 < far.ratio < np.inf:
            continue
        if far.last > last and 0 < far.ratio < np.inf and not far.under:
            inside = (curve.distance >= far.first) & (curve.distance <= last)
            log = curve.log[inside]
            value = float(far_end(curve.distance[inside], log) - log[:1].sum())
            if np.isfinite(value):
                decay = replace(decay, far=replace(far, ratio=ratio(value), low=np.nan, high=np.nan, last=last))
        found.append(decay)
    return found


def _far(shared: Band, decays: Sequence[Decay]) -> FarRatio:
    """The geometric mean of the seeds' far ratios that are neither zero nor infinite, with Student's interval;
    neither side is narrower than what the samples alone leave open there."""
    fars = [decay.far for decay in decays]
    arriving = [far for far in fars if 0 < far.ratio < np.inf] or fars
    logs = np.array([far.log for far in fars])
    there = np.isfinite(logs)
    first, last = max(far.first for far in fars), min(far.last for far in fars)
    inside = (shared.x >= first) & (shared.x <= last)
    low = high = float("nan")
    # A bound is no measurement: it counts where there is nothing better.
    measured = there & ~np.array([far.under for far in fars])
    there = measured if measured.any() else there
    if there.any():
        mean, count = float(logs[there].mean()), int(there.sum())
        own = [far for far, ok in zip(fars, there, strict=True) if ok]
        error, below, above = (
            float(np.sqrt(np.mean(np.square(each)) / count))
            for each in zip(*((far.error, far.below, far.above) for far in own), strict=True)
        )
        if count >= SEEDS:
            half, few = float(half_width(logs[there])), t_quantile(count - 1) / TWO_SIDED
            low, high = ratio(mean - max(half, few * below)), ratio(mean + max(half, few * above))
        elif count == 1:
            low, high = own[0].low, own[0].high
        value = ratio(mean)
    else:
        error = below = above = 0.0
        value = float(np.median([far.ratio for far in fars])) if all(far.ratio == far.ratio for far in fars) else np.nan
    zeros = [far.zero_from for far in fars if far.zero_from is not None]
    return FarRatio(
        ratio=float(value),
        low=low,
        high=high,
        error=error,
        below=below,
        above=above,
        under=all(far.under or far.ratio == 0 for far in fars) and any(far.under for far in fars),
        first=first,
        last=last,
        **extremes(shared.x[inside], shared.mean[inside], float(np.log(value)) if value > 0 else -np.inf),
        gone=float(np.mean([far.gone for far in arriving])),
        zero_from=int(np.median(zeros)) if len(zeros) > len(fars) / 2 else None,
        falls=_group([far.falls for far in arriving]),
        keeps=_group([far.keeps for far in arriving]),
        rises=_group([far.rises for far in arriving]),
        differ=sum(far.differ for far in fars) > len(fars) / 2,
    )


def _group(groups: Sequence[SampleGroup]) -> SampleGroup:
    ratios = [group.ratio for group in groups if group.share]
    slopes = [group.slope for group in groups if group.share]
    middle = [float(np.sort(values)[(len(values) - 1) // 2]) if values else float("nan") for values in (ratios, slopes)]
    return SampleGroup(float(np.mean([group.share for group in groups])), *middle)


def _verdict(decay: Decay, decays: Sequence[Decay], verdicts: Sequence[Verdict]) -> Verdict:
    """The seeds' common word, from their common far ratio; where sure words of theirs are not even neighbours, they
    disagree."""
    counts = Counter(verdict.word for verdict in verdicts)
    if len(counts) == 1 and verdicts[0].word not in LADDER:
        said = judged(decay)
        return said if said.word == verdicts[0].word else verdicts[0]
    listed = "" if len(counts) == 1 else f"seeds: {', '.join(f'{word} in {n}' for word, n in counts.most_common())}"
    common = judged(decay)
    if _disagree(common, decays, verdicts):
        return Verdict("seeds disagree", f"{listed}; on average {common.reason}", (), common.length)
    also = common.also if np.isfinite(decay.far.low) else _of_any(common, verdicts)
    return replace(common, also=also, reason="; ".join(filter(None, (common.reason, listed))))


def _of_any(common: Verdict, verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """The other words of the seeds, the nearest first: where they give no interval, as two do, their common word is no
    surer than they are."""
    said = {word for verdict in verdicts for word in (verdict.word, *verdict.also)}
    if common.word not in LADDER:
        return common.also
    at = LADDER.index(common.word)
    others = (word for word in LADDER if word in {*said, *common.also} and word != common.word)
    return tuple(sorted(others, key=lambda word: abs(LADDER.index(word) - at)))


def _disagree(common: Verdict, decays: Sequence[Decay], verdicts: Sequence[Verdict]) -> bool:
    """Whether two seeds' words, each sure, are no neighbours, and their far ratios far apart; or one is gone, or
    without a gradient, where the others are not about to vanish."""
    if any(verdict.word == "no gradient" for verdict in verdicts):
        return True
    if any(verdict.word == "gone" for verdict in verdicts):
        return "vanishes" not in (common.word, *common.also)
    sure = [(decay.far.log, verdict.word) for decay, verdict in zip(decays, verdicts, strict=True) if verdict.sure]
    if not sure:
        return False
    (low, lowest), (high, highest) = min(sure), max(sure)
    return bool(LADDER.index(highest) - LADDER.index(lowest) > 1 and high - low > np.log(DISAGREE))


def _mean(values: Sequence[float]) -> float:
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    return float(finite.mean()) if len(finite) else float("nan")
