"""A reading of a curve, and the numbers of a condition, as text. Computes none."""

from __future__ import annotations

from collections import Counter

from rnn_research.compare.honesty import few_distances, near_underflow
from rnn_research.curves import Reading, beyond, format_interval, rate_spoken, ratio_spoken
from rnn_research.curves import short as brief
from rnn_research.statistics.intervals import LOG_STUDENT, SEEDS, Interval


def beside(reading: Reading) -> str:
    """`0.02, weakens`; `0.05 [0.001, 1.7], vanishes to keeps?` where it is unclear."""
    return f"{far(reading)}, {brief_words(reading)}"


def words(reading: Reading) -> str:
    """The verdict with its length: `weakens over 62`, `weakens or vanishes over 62 (borderline)`; where the seeds
    disagree all of theirs."""
    verdict = reading.verdict
    if verdict.word == "seeds disagree":
        return f"{verdict.word}: {seeds(reading)}"
    return verdict.headline


def seeds(reading: Reading) -> str:
    """`weakens 4, gone 1`: the seeds' own words."""
    return ", ".join(f"{word} {count}" for word, count in Counter(reading.words).most_common())


def words_over(reading: Reading) -> str:
    """`brief_words` with the length: `weakens or vanishes over 62`."""
    length, said = reading.verdict.length, brief_words(reading)
    return f"{said.rstrip('?')}{f' over {length}' if length else ''}{'?' * said.endswith('?')}"


def brief_words(reading: Reading) -> str:
    """The verdict in few words, without its length: `weakens or vanishes`, `vanishes to keeps?` where it is unclear."""
    verdict = reading.verdict
    if verdict.doubt and len(verdict.also) > 1:
        return verdict.doubt.strip(" ()").removeprefix("unclear: ") + "?"
    return verdict.said


def samples(reading: Reading) -> str:
    """`81/16/3`, in per cent."""
    found = reading.decay.far
    shares = [group.share for group in (found.falls, found.keeps, found.rises)]
    return "/".join(f"{100 * share:.0f}" for share in shares) if sum(shares) else NOTHING


def far(reading: Reading) -> str:
    """The far ratio with its interval: 0 where it is exactly zero, `<6e-36` where it has sunk below float32."""
    found = reading.decay.far
    return ratio_spoken(found) if found.ratio == found.ratio and found.last > found.first else NOTHING


def horizon(reading: Reading) -> str:
    """Nothing where the norm falls below the fraction and comes back."""
    decay, there = reading.decay, reading.decay.far
    if there.last <= there.first or (decay.horizon is None and there.lowest[1] < decay.fraction <= there.ratio):
        return NOTHING
    return f"> {there.last}" if decay.horizon is None else str(decay.horizon)


def half_life(reading: Reading) -> str:
    """Of a norm that doubles instead, what doubles it; nothing where the rate may be zero, or is none."""
    decay = reading.decay
    if not decay.holds or not decay.moves:
        return NOTHING
    return brief(decay.half_life) if decay.rate < 0 else f"×2 in {brief(-decay.half_life)}"


def rate(reading: Reading) -> str:
    """Nothing where one rate does not say what the curve does; and how many seeds have none. † marks a rate fitted over
    few distances, ‡ one without the norms that underflow (`compare.caveats` says so in words)."""
    decay = reading.decay
    if decay.bounded:
        said = f"{'≤' if decay.rate < 0 else '≥'} {decay.rate:.3g}"
    else:
        said = rate_spoken(decay) if decay.holds else NOTHING
    marks = FEW * few_distances(reading) + UNDERFLOW * near_underflow(reading)
    return said + marks + beyond(decay)


def law(reading: Reading) -> str:
    """`exponential`, `power -1.0`, `flat to 250, then -0.2`, `no simple law`; `no single rate` where lines fit, and
    their rate gives another far ratio than is measured."""
    found, decay = reading.decay.law, reading.decay
    if decay.bounded or found.name == "unknown":
        return NOTHING
    if decay.far.differ:
        return "samples differ"
    if found.name == "power law":
        return f"power {-found.power:.2g}"
    if found.bend is not None:
        before, after = ("flat" if not slope else f"{slope:.2g}" for slope in found.slopes)
        return f"{before} to {found.bend}, then {after}"
    said = "no simple law" if found.name == "none" else found.name if decay.agrees else "no single rate"
    return f"{said}, then zero" if decay.far.ratio == 0 else said


def percent(share: Interval | None) -> str:
    """In whole per cent, except where that would say never or always and it isn't so."""
    if share is None:
        return NOTHING
    value = 100 * share.mean
    if 0 < value < 1:
        return "<0.1%" if value < 0.1 else f"{value:.1g}%"
    return ">99%" if 99 < value < 100 else f"{value:.0f}%"


def p_value(p: float) -> str:
    """`<0.001`, `0.012`; nothing where there is no test."""
    return NOTHING if p != p else "<0.001" if p < 1e-3 else f"{p:.2g}"


def number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3g}"


def reasoned(found: Interval | None) -> str:
    """`interval`, and why there is none where that is not that seeds are few: `0.81 (all equal)`."""
    few = found is None or found.n < SEEDS
    return interval(found) + (f" ({found.why})" if found is not None and found.why and not few else "")


def signed(found: Interval | None) -> str:
    """A difference, `+0.02 [-0.01, 0.05]`; a ratio as a factor, `×1.3 [1.1, 1.5]`."""
    if found is None or found.mean != found.mean:
        return NOTHING
    sign = "×" if found.method == LOG_STUDENT else "+" if found.mean > 0 else ""
    return f"{sign}{reasoned(found)}"


def interval(found: Interval | None) -> str:
    """`0.81 [0.77, 0.85]`; of numbers so large that their digits would fill the row, three."""
    if found is None:
        return NOTHING
    ends = (found.mean, found.low, found.high)
    if max((abs(end) for end in ends if end == end), default=0.0) >= LARGE and all(
        abs(end) < float("inf") for end in ends
    ):
        return "{:.3g} [{:.3g}, {:.3g}]".format(*ends)
    return format_interval(*ends)


LARGE = 1e7
NOTHING = "–"
FEW, UNDERFLOW = "†", "‡"
