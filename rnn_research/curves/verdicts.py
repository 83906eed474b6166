"""The word for a vanishing curve, and the reason in numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnn_research.curves.bounds import DOUBLE, FALL, FEW, LADDER, MARGIN, RISE, rung
from rnn_research.curves.far_ratio import FarRatio
from rnn_research.curves.norms import Curve
from rnn_research.curves.rate import Decay
from rnn_research.curves.samples import SampleGroup
from rnn_research.curves.typical import FEWEST

MENTIONED = 0.05
"""Samples of another class than the rest are said where they are so many."""


@dataclass(frozen=True)
class Verdict:
    """`word` is one of `WORDS`; `also` are the others that the interval reaches; `length` is over how many applications
    from distance 1 on; `reason` says why, with the numbers."""

    word: str
    reason: str
    also: tuple[str, ...] = ()
    length: int = 0

    @property
    def borderline(self) -> bool:
        """Whether the interval of the far ratio reaches another word (or is nearer to one than a factor of 1.1)."""
        return bool(self.also)

    @property
    def sure(self) -> bool:
        """Whether this is a word about how much arrives, and no other can be."""
        return not self.borderline and (self.word in LADDER or self.word == "gone")

    @property
    def said(self) -> str:
        """`weakens`, or `weakens or vanishes`; where more can be, what is likeliest."""
        return " or ".join((self.word, *self.also)) if len(self.also) < 2 else self.word

    @property
    def doubt(self) -> str:
        """` (borderline)` between two words, ` (unclear: vanishes to keeps)` among more; empty where there is one."""
        if len(self.also) < 2:
            return " (borderline)" if self.also else ""
        whole = sorted((self.word, *self.also), key=LADDER.index)
        return f" (unclear: {whole[0]} to {whole[-1]})"

    @property
    def headline(self) -> str:
        """What is said, with the length and the doubt: `weakens or keeps over 62 (borderline)`."""
        return f"{self.said}{f' over {self.length}' if self.length else ''}{self.doubt}"


def verdict(curve: Curve, decay: Decay, diverged_step: int | None = None) -> Verdict:
    """The word for `curve` by its far ratio F, the typical norm at the farthest distance over that at distance 1:

    | word            | where                                                                        |
    |-----------------|------------------------------------------------------------------------------|
    | vanishes        | F < 1/100                                                                    |
    | weakens         | 1/100 <= F < 1/2                                                             |
    | keeps           | 1/2 <= F <= 2                                                                |
    | grows           | 2 < F <= 100                                                                 |
    | explodes        | F > 100; or it overflows before it can be measured (below)                   |
    | gone            | exactly zero over the whole last tenth, in most samples, at once: cut or     |
    |                 | dead. What sinks below float32 on its way vanishes                           |
    | falls and rises | on the way below 1/100 and a tenth of F (not at single distances)            |
    | rises and falls | on the way above 100 and ten times F                                         |
    | samples differ  | two classes (below 1/2, to 2, above) of a quarter of the samples or more     |
    | too short       | fewer than 3 distances from 1 on, or none that float32 can measure           |
    | no gradient     | no norm is a number, or all are zero at the loss already                     |

    F is `typical.Typical.far`; its interval is over samples, or over seeds (`seeds.together`). Where that crosses a
    bound, or F is within 10% of one, the words on both sides are said: the case is borderline. What overflows before it
    can be measured has no ratio and explodes all the same: most norms are infinite at the smallest distance, or in a
    run that diverged (at `diverged_step`) all are NaN there or beyond it.
    """
    overflow = _overflow(curve, diverged_step)
    if overflow:
        return Verdict("explodes", overflow)
    if not len(curve.distance) or not np.isfinite(curve.log_norm).any():
        return Verdict("no gradient", _silence(curve))
    return judged(decay, _dead(curve, decay.far))


def judged(decay: Decay, dead: str = "") -> Verdict:
    """The word for a decay, of one run or of seeds together."""
    far = decay.far
    if np.isnan(far.ratio) or (decay.used < FEWEST and not decay.bounded and 0 < far.ratio < np.inf):
        distances = f"{decay.used} distance{'s' * (decay.used != 1)} from 1 on"
        return Verdict("too short", f"{distances} can be fitted, a verdict needs {FEWEST}")
    word, also = _word(far)
    return Verdict(word, reason(decay) + dead, also, far.length)


def reason(decay: Decay) -> str:
    """How much arrives, how fast it changes on the way, and in how many samples: "0.05 [0.02, 0.1] of the norm at
    distance 1 arrives over 62 applications; rate -0.05 [-0.06, -0.04] per application, half-life 14"."""
    sunk = f"{decay.sunk} of {decay.seeds} seeds sink below what float32 holds" if decay.sunk else ""
    told = (_arrives(decay.far), _zeros(decay.far), sunk, _on_the_way(decay.far), _law(decay), _samples(decay.far))
    return "; ".join(filter(None, told))


def format_interval(mean: float, low: float, high: float) -> str:
    """`mean [low, high]`, with as many decimals as the interval's width gives a meaning, and as many as it takes to
    see on which side of zero its ends are."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return f"{mean:.3g}"
    if high - low < 1e-5:
        return f"{round(mean, 6) + 0.0:.6g} ± {max(high - mean, mean - low):.0g}"
    decimals = int(np.clip(-np.floor(np.log10(high - low)), 2 if abs(mean) < 100 else 0, 6))
    if low * high > 0:  # two digits of what is known to be there
        decimals = max(decimals, min(1 - int(np.floor(np.log10(abs(mean)))), 6))
    if any(end != 0 and round(end, decimals) == 0 for end in (low, high)):
        decimals += 1
    return "{} [{}, {}]".format(*(f"{round(value, decimals) + 0.0:.{decimals}f}" for value in (mean, low, high)))


def short(number: float) -> str:
    """A positive number with two digits, and no exponent where it can do without: 0.032, 14, 104."""
    return f"{number:.0f}" if 99.5 <= number < 99_999 else f"{number:.2g}"


def ratio_spoken(far: FarRatio) -> str:
    """`0.05 [0.02, 0.1]`: a ratio with its interval, where it has one of some width."""
    if far.under:
        return f"<{far.ratio:.1g}"
    value, low, high = map(short, (far.ratio, far.low, far.high))
    return value if low == high or "nan" in (low, high) else f"{value} [{low}, {high}]"


def rate_spoken(decay: Decay) -> str:
    """`-0.05 [-0.06, -0.04]`; 0 where it is that as far as float32 can tell."""
    return format_interval(0.0 if decay.still else decay.rate, decay.low, decay.high)


def _word(far: FarRatio) -> tuple[str, tuple[str, ...]]:
    """The word, and the others that the interval reaches."""
    if far.differ and not far.under:
        return "samples differ", ()
    if far.ratio == 0:
        return "gone", ()
    if np.isinf(far.ratio):
        return "explodes", ()
    if far.under:
        return ("vanishes", ()) if far.ratio < FALL else ("weakens", ("vanishes",))
    fell, rose = far.lowest[1] < min(FALL, far.ratio / 10), far.highest[1] > max(RISE, 10 * far.ratio)
    if fell or rose:
        deeper = fell and (not rose or far.lowest[1] * far.highest[1] < 1)
        return ("falls and rises" if deeper else "rises and falls"), ()
    with np.errstate(divide="ignore"):
        # of two seeds, which give no interval, what their samples leave open
        open_ends = zip((far.low, far.high), (far.log - far.below, far.log + far.above), strict=True)
        low, high = (float(np.log(end)) if np.isfinite(end) else open_end for end, open_end in open_ends)
    reached = range(rung(min(low, far.log - MARGIN)), rung(max(high, far.log + MARGIN)) + 1)
    at = rung(far.log)
    others = sorted((number for number in reached if number != at), key=lambda number: abs(number - at))
    return LADDER[at], tuple(LADDER[number] for number in others)


def _arrives(far: FarRatio) -> str:
    only = "only " if far.length < FEW else ""
    over = f"over {only}{applications(far.length)}"
    if far.ratio == 0:
        samples = "all samples" if far.gone == 1 else f"{100 * far.gone:.0f}% of the samples"
        return f"exactly zero from distance {far.zero_from} to {far.last} in {samples}"
    if np.isinf(far.ratio):
        return f"it overflows by distance {far.last}"
    start = f"the norm at distance {far.first}"
    if far.ratio > DOUBLE:
        return f"{ratio_spoken(far)} times {start} arrive {over}"
    if far.under:
        return f"less than {far.ratio:.1g} of {start} arrives {over}, below what float32 holds"
    return f"{ratio_spoken(far)} of {start} arrives {over}"


def _zeros(far: FarRatio) -> str:
    """That nothing arrives from beyond, where too few distances are exactly zero to call the gradient gone."""
    if far.zero_from is None or far.zero_from <= far.last or far.ratio == 0:
        return ""
    return f"exactly zero for most samples from distance {far.zero_from} on"


def _on_the_way(far: FarRatio) -> str:
    word, _ = _word(far)
    if word == "falls and rises":
        return f"on the way it falls to {short(far.lowest[1])} at distance {far.lowest[0]}"
    if word == "rises and falls":
        return f"on the way it rises to {short(far.highest[1])} times at distance {far.highest[0]}"
    return ""


def _law(decay: Decay) -> str:
    """What the curve does on the way: one rate where that holds, else the law that does."""
    law = decay.law
    if decay.bounded:
        side = "at most" if decay.rate < 0 else "at least"
        return f"rate {side} {decay.rate:.2g} per application, where it leaves float32{beyond(decay)}"
    if decay.far.differ:
        return f"no single rate{beyond(decay)}"
    if decay.holds:
        rate = f"rate {rate_spoken(decay)} per application"
        if decay.far.ratio == 0:
            return f"{rate} before{beyond(decay)}"
        if decay.moves:
            rate += f", {'half-life' if decay.rate < 0 else 'doubling in'} {short(abs(decay.half_life))}"
        return rate + beyond(decay)
    if law.name == "power law":
        return f"no single rate but a power law, (1 + d)^{-law.power:.2g}{beyond(decay)}"
    if law.bend is not None:
        before, after = map(_piece, law.slopes)
        return f"no single rate: {law.name}, {before} to distance {law.bend} and {after} beyond{beyond(decay)}"
    if law.name == "none":
        return f"no single rate: no simple law fits{beyond(decay)}"
    if law.exponential and not decay.agrees:
        return f"no single rate: {short(decay.far.ratio)} is not what {decay.rate:.2g} per application gives"
    return beyond(decay).lstrip("; ")


def beyond(decay: Decay) -> str:
    """How many of the seeds are not in the rate, since they are gone or overflow: `; 1 of 5 gone`."""
    return "".join(f"; {count} of {decay.seeds} {what}" for what, count in decay.beyond.items() if count)


def _piece(slope: float) -> str:
    if slope == 0:
        return "flat"
    return (
        f"{slope:.2g} per application ({'half-life' if slope < 0 else 'doubling in'} {short(np.log(2) / abs(slope))})"
    )


def _samples(far: FarRatio) -> str:
    """Where not all samples do the same: how many fall, keep and rise, and to what."""
    groups = {"fall": far.falls, "keep": far.keeps, "rise": far.rises}
    several = [(name, group) for name, group in groups.items() if group.share > 0]
    told = []
    if far.differ or sorted(group.share for _, group in several)[:-1][-1:] >= [MENTIONED]:
        told = [f"{100 * group.share:.0f}% {name} ({_to(group, far.differ)})" for name, group in several]
    said = f"samples: {', '.join(told)}" if told else ""
    gone = f"{100 * far.gone:.0f}% of the samples are exactly zero at the far end" if 0 < far.gone <= 0.5 else ""
    return "; ".join(filter(None, (said, gone)))


def _to(group: SampleGroup, slope: bool) -> str:
    if group.ratio == 0:
        return "to exact zero"
    return f"to {short(group.ratio)}" + (f", {group.slope:.2g} per application" if slope else "")


def applications(count: int) -> str:
    """`1 application`, `62 applications`."""
    return f"{count} application" if count == 1 else f"{count} applications"


def _dead(curve: Curve, far: FarRatio) -> str:
    """That most samples are exactly zero at single distances, and how many, though the gradient goes on."""
    inside = (curve.distance >= far.first) & (curve.distance <= far.last)
    share = curve.zero.sum(0) / np.maximum(curve.there.sum(0), 1)
    dead = np.flatnonzero(inside & (share > 0.5))
    if not len(dead) or far.ratio == 0 or far.under:
        return ""
    at = ", ".join(map(str, curve.distance[dead][:5])) + (", …" if len(dead) > 5 else "")
    return (
        f"; dead units: at distance{'s' * (len(dead) > 1)} {at} alone up to {100 * share[dead].max():.0f}% of the "
        "samples are exactly zero"
    )


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
    return "no norm is finite"
