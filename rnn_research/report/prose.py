"""What the page says in words, as HTML. All text from records is escaped."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from html import escape

from rnn_research.compare import Comparison, Condition, Success
from rnn_research.compare.factors import is_of_clipping
from rnn_research.curves import DOUBLE, FALL, FLOOR, HALF, RISE, Reading, verdicts
from rnn_research.report import as_text, budget, columns, metric_columns
from rnn_research.report.names import joined, names

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MOST_SETTINGS = 12
"""Of more settings the sentence says how many a word is said of."""
LOST = ("vanishes", "gone")
MOST_NAMED = 6
"""Conditions that a sentence names for one word; of more it says how many."""
PHRASES = {
    "keeps": ("the gradient ", " its norm"),
    "gone": ("the gradient is ", ""),
    "too short": ("the curve is ", " to judge"),
    "no gradient": ("there is ", ""),
    "samples differ": ("the ", ""),
    "seeds disagree": ("the ", ""),
}
"""What stands before and after a word in a sentence; before verbs, the gradient."""


def question(comparison: Comparison) -> str:
    """What the study asks, from what varies in it: `Does the gradient vanish, for which model and clipping?`"""
    told = list(names(comparison).values())
    if not told:
        return "Does the gradient vanish?"
    listed = ", ".join(told[:-1]) + (" and " if len(told) > 1 else "") + told[-1]
    return f"Does the gradient vanish, for which {listed}?"


def study(comparison: Comparison) -> str:
    """How much was run, and on which data: `18 runs in 6 conditions, 3 seeds each, on digits.`"""
    seeds = sorted({condition.seeds for condition in comparison.conditions})
    each = f"{seeds[0]} {'seed' if seeds == [1] else 'seeds'} each" if len(seeds) == 1 else (
        f"{seeds[0]} to {seeds[-1]} seeds")  # fmt: skip
    data = comparison.constant.get("dataset")
    return f"{columns.title(comparison)}, {each}{f', on {data}' if data else ''}."


def verdict(comparison: Comparison, more: str = "") -> str:
    """One sentence at the chosen step with `more`, and one at the first."""
    steps = [columns.at(title(comparison)).capitalize() for title in (columns.step_title, columns.start_title)]
    said = [
        _with(_verdicts(comparison, steps[0], lambda condition: condition.chosen, MOST_NAMED), _layer(comparison)),
        _verdicts(comparison, steps[1], lambda condition: condition.start, MOST_NAMED) if len(set(steps)) > 1 else "",
    ]
    if not any(said):
        why = next((f": {escape(lack)}" for run in comparison.runs for lack in run.missing), "")
        said = [f"No run says how far the gradient reaches{why}.", ""]
    if more:
        said[0] = " ".join(filter(None, (said[0], more)))
    looks = ("lead", "lead quiet")
    return "".join(f'<p class="{look}">{one}</p>' for look, one in zip(looks, said, strict=True) if one)


def _with(said: str, clause: str) -> str:
    """A sentence with one clause more."""
    return f"{said.removesuffix('.')}; {clause}." if said and clause else said


def _layer(comparison: Comparison) -> str:
    """`layer 0 vanishes in rnn`: the first layer in which the gradient is lost where another of the same cells has it,
    and in how many conditions; of the layers together the verdict may be that it is kept. Both by words that are sure;
    empty where there is none."""
    found: dict[tuple[str, str], list[Condition]] = {}
    for condition in comparison.conditions:
        words = {
            name: one.verdict.word
            for name, one in condition.beside.items()
            if name.startswith("layer") and one.verdict.sure
        }
        lost = next((name for name, word in words.items() if word in LOST), None)
        if lost is not None and any(word not in LOST for word in words.values()):
            found.setdefault((lost, words[lost]), []).append(condition)
    if not found:
        return ""
    (name, word), where = max(found.items(), key=lambda item: len(item[1]))
    told = f"{name} {'is gone' if word == 'gone' else word}"
    if len(where) == len(comparison.conditions):
        return told
    label = joined(comparison, where[0], comparison.distinguishing_factors) or "all runs"
    return escape(f"{told} in {_close(label) if len(where) == 1 else f'{len(where)} conditions'}")


def sentence(comparison: Comparison, condition: Condition) -> str:
    """A condition's headline: verdict, reason, task and clipping."""
    said = []
    if condition.chosen is not None:
        verdict = condition.chosen.verdict
        at = columns.at(columns.step_title(comparison))
        word = f"{verdict_word(verdict.said.capitalize())}{verdict.doubt}"
        mixed = f" (of steps {condition.steps[0]:,} to {condition.steps[-1]:,})" if len(condition.steps) > 1 else ""
        said.append(f"{word} {at}{mixed}{columns.of_some(condition)}: {typeset(verdict.reason)}.")
    if condition.beside:
        parts = (f"{name} {as_text.beside(reading)}" for name, reading in condition.beside.items())
        said.append(f"{typeset('; '.join(parts)).capitalize()}.")
    if condition.start is not None and columns.start_title(comparison) != columns.step_title(comparison):
        at = columns.at(columns.start_title(comparison)).capitalize()
        said.append(f"{at}: {verdict_word(as_text.words(condition.start))}.")
    if condition.metric is not None:
        against = "" if condition.baseline is None else f", baseline {as_text.number(condition.baseline)}"
        metric = metric_columns.title_of_metric(condition).capitalize()
        said.append(f"{escape(metric)} {typeset(metric_columns.metric_cell(condition) + against)}.")
    if condition.success is not None:
        said.append(f"Solved: {typeset(_success(condition.success))}.")
    if condition.diverged:
        said.append(f"Diverged: {escape(columns.diverged(condition))}.")
    if condition.clipped is not None:
        share = typeset(as_text.percent(condition.clipped))
        said.append(f"Clipped {share} of steps." if condition.clipped.mean > 0 else "Never clipped.")
    label = escape(joined(comparison, condition, comparison.distinguishing_factors) or "all runs")
    return f"<strong>{label}</strong><br>{' '.join(said) or 'Nothing was recorded.'}"


def _success(found: Success) -> str:
    """`3 of 5 [0.15, 0.95] runs; steps: 1,250 [900, >2,000], 2 censored`."""
    runs = f"{budget.solved(found)} {'run' if found.runs == 1 else 'runs'}"
    return f"{runs}; steps: {budget.steps(found)}" if found.steps else runs


def verdict_word(word: str) -> str:
    """A verdict in its colour."""
    kind = re.sub("[^a-z].*", "", word.lower())
    return f'<span class="word {kind}">{escape(word)}</span>'


def typeset(text: str) -> str:
    """Our own numbers as a book prints them: 1.5e-09 as 1.5 × 10⁻⁹, and a minus for a hyphen."""
    text = re.sub(
        r"(\d)e([+-]\d+)",
        lambda found: f"{found[1]}\u00a0×\u00a010{str(int(found[2])).translate(SUPERSCRIPTS)}",
        text,
    )
    return escape(re.sub(r"(?<![\w.])-(?=\d)", "−", text))


def glossary(comparison: Comparison) -> dict[str, str]:
    """The terms of the page, each with its definition."""
    return {
        "Distance d": "Cell applications between a state and the loss that reads it: steps back in a chain, "
        "depth below the root in a tree.",
        "Adjoint": f"The total gradient of the loss with respect to a state, here {columns.state(comparison)} of all "
        f"layers together (of layers with two directions, of the top one's two chains), here of "
        f"{columns.loss(comparison)}. Its L2 norm n against d is the vanishing curve.",
        "Typical norm": "Samples are ordered by their own slope, and of the middle half the geometric mean is "
        "taken, each compared with itself at distance 1: up to a quarter of odd samples don't move it. At distance 0 "
        "the norm is the readout's own gradient, which no recurrence has touched, so that is drawn apart. Where more "
        "than half of the samples are exactly zero, so is the typical norm.",
        "Far ratio": "F, the typical norm at the farthest distance (that a quarter of the samples reaches) over that "
        "at distance 1: the median of the last tenth of the distances along its own slope. The 95% interval is "
        "Student's over seeds, of log F; with one seed over samples (bootstrap).",
        "Verdict": f"From the far ratio, with the applications that it is over: vanishes below {FALL:g}, weakens "
        f"below {HALF:g}, keeps up to {DOUBLE:g}, grows up to {RISE:g}, explodes above (or where it overflows before "
        "it can be measured). Borderline where the interval reaches a second word, unclear where it reaches more. "
        "Gone: exactly zero at the far end, at once and not by decay. Falls and rises, rises and falls: the way there "
        "goes much lower, or higher, than its end. Samples differ: two classes of a quarter of the samples or more, "
        "apart. Seeds disagree: words that are sure by themselves are not even neighbours. Too short: fewer than 3 "
        "distances from 1 on.",
        "Samples": f"How many per cent fall (far ratio below {HALF:g}), keep, and rise (above {DOUBLE:g}).",
        "Law": "An exponential, a power of 1 + d, or two lines in log n that meet at a bend: the exponential unless "
        "another misses by at most half as much, and the exponential by more than the error of the curve over samples "
        "or seeds.",
        "Rate": "b of log n = a + b d from distance 1 on, in nats per application: the Theil-Sen median of pairwise "
        f"slopes. Given only where one exponential fits. Norms under {FLOOR:g}, and distances where the typical norm "
        "is, are left out, since float32 underflows there. The 95% interval is over seeds (Student's t); with one "
        "seed, over samples (bootstrap). Seeds whose gradient is gone, or overflows, are not in it: they are "
        "counted.",
        "Half-life": "ln 2 / |b|: the applications that halve the norm. Not given where b may be zero, or is none.",
        "Horizon": f"The first distance with less than {comparison.fraction:g} of the norm at distance 1, where most "
        "of the next four have less too. Not given where the norm comes back.",
        "Baseline": "What a predictor without memory reaches on the same data.",
        **_of_success(comparison),
        "Diverged": "Runs whose loss stopped being finite. They count, but their metric is not averaged.",
    }


def _of_success(comparison: Comparison) -> dict[str, str]:
    said = {}
    if comparison.rules:
        said["Solved"] = (
            f"A run counts from the first validation that finds {columns.rules(comparison)}. One that ended before is "
            "censored at its last step, since more steps may have solved it; one that diverged never does. The share "
            "of runs solved by a step is Kaplan and Meier's estimate; the median step, by which half had solved it, is "
            "of all runs counted so, with the interval of Brookmeyer and Crowley."
        )
    if comparison.bins:
        said["Answers"] = (
            "Each sample of the test set and of further evaluation sets, told by what is known of it. Many values are "
            "put in bins of about as many samples each; a sample that lacks a feature is left out of its table alone."
        )
    return said


def _verdicts(
    comparison: Comparison, opening: str, view: Callable[[Condition], Reading | None], most: int = MOST_NAMED
) -> str:
    """`At step 200, over 62 applications, the gradient vanishes in rnn (8e-8); keeps its norm in lstm (0.9 to 1).`"""
    told = _told(comparison, view)
    lengths = {reading.verdict.length for readings in told.values() for reading in readings} - {0}
    over = f", over {verdicts.applications(lengths.pop())}," if len(lengths) == 1 else ""
    by_word: dict[str, list[str]] = {}
    if len(told) > MOST_SETTINGS:
        readings = [found for condition in comparison.conditions if (found := view(condition)) is not None]
        return f"{escape(opening + over)} {_tallied(readings)}."
    for label, readings in told.items():
        by_word.setdefault(_phrase(readings[0]), []).append(_arriving(label, readings, len(lengths) > 0 and not over))
    said = "; ".join(f"{phrase} in {_listed(labels, most)}" for phrase, labels in by_word.items())
    return f"{escape(opening + over)} {said}." if said else ""


def _tallied(readings: Sequence[Reading]) -> str:
    """Of many conditions how many each word is said of: `the gradient vanishes in 35 of 44 (to 1e-9 to 0.006), ...`"""
    by_word: dict[str, list[Reading]] = {}
    for reading in readings:
        by_word.setdefault(reading.verdict.said if not reading.verdict.doubt else "in doubt", []).append(reading)
    said = []
    for word, alike in sorted(by_word.items(), key=lambda item: (item[0] == "in doubt", -len(item[1]))):
        ends = dict.fromkeys(
            as_text.far(reading).partition(" [")[0]
            for reading in sorted(alike, key=lambda reading: reading.decay.far_ratio)[:: max(1, len(alike) - 1)]
        )
        phrase = "it is in doubt" if word == "in doubt" else _phrase(alike[0])
        share = f" in {len(alike)} of {len(readings)} conditions" if not said else f" in {len(alike)}"
        far = "" if as_text.NOTHING in ends else typeset(f" (to {' … '.join(ends)})")
        said.append(f"{phrase}{share}{far}")
    return "; ".join(said)


def _phrase(reading: Reading) -> str:
    """`the gradient weakens`, `there is no gradient`, `the seeds disagree`; in doubt with that in brackets."""
    verdict = reading.verdict
    before, after = PHRASES.get(verdict.word, ("the gradient ", ""))
    after = "" if len(verdict.also) == 1 else after
    return f"{before}{verdict_word(verdict.said)}{after}{verdict.doubt}"


def _arriving(label: str, readings: list[Reading], lengths: bool) -> str:
    """`rnn (to 0.12)`, `rnn (to 0.05 and 0.12)`: how much arrives; and where that is not the same for all, over how
    much."""
    ratios = sorted((reading for reading in readings), key=lambda reading: reading.decay.far_ratio)
    ends = dict.fromkeys(as_text.far(reading).partition(" [")[0] for reading in (ratios[0], ratios[-1]))
    over = dict.fromkeys(str(reading.verdict.length) for reading in readings if reading.verdict.length)
    if as_text.NOTHING in ends:
        return escape(_close(label))
    if any(reading.verdict.word == "seeds disagree" for reading in readings):  # which no one number is of
        return escape(f"{_close(label)} ({as_text.seeds(readings[0])})" if len(readings) == 1 else _close(label))
    said = f"to {' and '.join(ends)}" + (f" over {' and '.join(over)}" if lengths and over else "")
    return f"{escape(_close(label))} ({typeset(said)})"


def _told(comparison: Comparison, view: Callable[[Condition], Reading | None]) -> dict[str, list[Reading]]:
    """The readings of each setting, or where its clipping matters of each condition."""
    found: dict[str, dict[str, Reading]] = {}
    for condition in comparison.conditions:
        reading = view(condition)
        if reading is not None:
            found.setdefault(setting_of(comparison, condition), {})[
                joined(comparison, condition, comparison.distinguishing_factors) or "all runs"
            ] = reading
    told: dict[str, list[Reading]] = {}
    for setting, by_label in found.items():
        alike = len({reading.verdict.said + reading.verdict.doubt for reading in by_label.values()}) == 1 and setting
        told |= {setting: list(by_label.values())} if alike else {label: [one] for label, one in by_label.items()}
    return told


def setting_of(comparison: Comparison, condition: Condition) -> str:
    """The condition's label without its clipping."""
    factors = [factor for factor in comparison.distinguishing_factors if not is_of_clipping(factor)]
    return joined(comparison, condition, factors)


def _listed(labels: list[str], most: int) -> str:
    """All where they are few; else the first ones, and how many more."""
    if len(labels) <= most:
        return ", ".join(labels)
    return f"{', '.join(labels[: most - 1])} and {len(labels) - most + 1} more"


def _close(label: str) -> str:
    """`rnn / digits`: the options of one label closer together than the labels."""
    return label.replace(", ", " / ")
