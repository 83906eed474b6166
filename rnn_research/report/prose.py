"""What the page says in words, as HTML. All text from records is escaped."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape

from rnn_research.compare import Comparison, Condition, Effect, Success
from rnn_research.compare.factors import is_of_clipping
from rnn_research.curves import CONFIDENCE, FALL, FLOOR, FRACTION, RISE, Interval, Reading, t_quantile
from rnn_research.report import cells

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MOST_EFFECTS = 4


def answers(comparison: Comparison) -> str:
    """Where the gradient vanishes, at the chosen step and at the first, and what clipping changed."""
    steps = [cells.at(title(comparison)).capitalize() for title in (cells.step_title, cells.start_title)]
    said = [
        _verdicts(comparison, f"{steps[0]} the gradient is", lambda condition: condition.chosen),
        _verdicts(comparison, f"{steps[1]} it was", lambda condition: condition.start) if len(set(steps)) > 1 else "",
    ]
    # More are a table, and they have one.
    few = comparison.effects if len(comparison.effects) <= MOST_EFFECTS else ()
    count = sum(found is not None and found.n > 1 for effect in few for found in (effect.rate, effect.metric))
    paragraphs = [" ".join(filter(None, said)), *(_changed(comparison, effect, count) for effect in few)]
    if count > 1:
        paragraphs.append(f"Higher and lower are said where the difference holds for all {count} of these at once.")
    return "".join(f'<p class="lead">{paragraph}</p>' for paragraph in paragraphs if paragraph)


def sentence(comparison: Comparison, condition: Condition) -> str:
    """A condition's headline: verdict, reason, task and clipping."""
    said = []
    if condition.chosen is not None:
        verdict = condition.chosen.verdict
        at = cells.at(cells.step_title(comparison))
        said.append(f"{verdict_word(verdict.word.capitalize())} {at}: {typeset(verdict.reason)}.")
    if condition.start is not None and cells.start_title(comparison) != cells.step_title(comparison):
        at = cells.at(cells.start_title(comparison)).capitalize()
        said.append(f"{at}: {verdict_word(cells.words(condition.start))}.")
    if condition.metric is not None:
        against = "" if condition.baseline is None else f", baseline {cells.number(condition.baseline)}"
        metric = cells.metric_title(comparison).capitalize()
        said.append(f"{escape(metric)} {typeset(cells.metric_cell(comparison, condition) + against)}.")
    if condition.success is not None:
        said.append(f"Solved: {typeset(_success(condition.success))}.")
    if condition.diverged:
        said.append(f"Diverged: {escape(cells.diverged(condition))}.")
    if condition.clipped is not None:
        share = typeset(cells.percent(condition.clipped))
        said.append(f"Clipped {share} of steps." if condition.clipped.mean > 0 else "Never clipped.")
    label = escape(comparison.label(condition))
    return f"<strong>{label}</strong><br>{' '.join(said) or 'Nothing was recorded.'}"


def _success(found: Success) -> str:
    """`3 of 5 runs, after 1,250 (900 to 2,000) steps, 2 censored`."""
    runs = f"{cells.solved(found)} {'run' if found.runs == 1 else 'runs'}"
    return f"{runs}; steps: {cells.steps(found)}" if found.steps else runs


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
        "Adjoint": f"The total gradient of the loss with respect to a state, here {comparison.state} in the "
        f"top layer; here of {cells.loss(comparison)}. Its L2 norm n against d is the vanishing curve.",
        "Typical norm": "The geometric mean over samples, each compared with itself at the smallest d; "
        "an arithmetic mean would show the loudest sample. Where more than half of the norms are exactly "
        "zero, so is the typical norm; a zero for one or two distances after a norm that had not fallen below "
        f"{FRACTION:g} is of dead units, and no fall.",
        "Verdict": "From the smallest and the largest ratio of n to its value at the smallest distance: "
        f"vanishing where it falls below {FALL:g}, exploding where it rises above {RISE:g}, mixed where "
        "both, stable where neither; exploding also where it overflows before it can be measured; too short "
        "with fewer than 3 distances. Where seeds disagree: mixed, "
        "with their counts.",
        "Rate": "b of log n = a + b d, in nats per application: the Theil-Sen median of pairwise slopes. "
        f"Norms under {FLOOR:g}, and distances where the typical norm is, are left out, since float32 "
        "underflows there. The 95% interval is over seeds (Student's t); with one seed, over samples (bootstrap).",
        "Half-life": "ln 2 / |b|: the applications that halve the norm. Not given where b may be zero.",
        "Horizon": f"The first distance with less than {comparison.fraction:g} of the norm at the smallest.",
        "Far ratio": "The norm at the largest distance over that at the smallest.",
        "Baseline": "What a predictor without memory reaches on the same data.",
        **_of_success(comparison),
        "Diverged": "Runs whose loss stopped being finite. They count, but their metric is not averaged.",
    }


def _of_success(comparison: Comparison) -> dict[str, str]:
    said = {}
    if comparison.rules:
        said["Solved"] = (
            f"A run counts from the first validation that finds {cells.rules(comparison)}. One that ended before is "
            "censored at its last step, since more steps may have solved it; one that diverged never does. The share "
            "of runs solved by a step is Kaplan and Meier's estimate."
        )
    if comparison.bins:
        said["Answers"] = (
            "Each sample of the test set and of further evaluation sets, told by what is known of it. Many values are "
            "put in bins of about as many samples each; a sample that lacks a feature is left out of its table alone."
        )
    return said


def _verdicts(comparison: Comparison, opening: str, view: Callable[[Condition], Reading | None]) -> str:
    """`At step 200 the gradient is vanishing in rnn; stable in lstm, gru.`"""
    by_word: dict[str, list[str]] = {}
    for label, word in _told(comparison, view).items():
        by_word.setdefault(word, []).append(label)
    said = "; ".join(f"{verdict_word(word)} in {escape(_listed(labels))}" for word, labels in by_word.items())
    return f"{escape(opening)} {said}." if said else ""


def _told(comparison: Comparison, view: Callable[[Condition], Reading | None]) -> dict[str, str]:
    """The verdict of each setting, or where its clipping matters of each condition."""
    words: dict[str, dict[str, str]] = {}
    for condition in comparison.conditions:
        reading = view(condition)
        if reading is not None:
            by_label = words.setdefault(_setting(comparison, condition), {})
            by_label[comparison.label(condition)] = reading.verdict.word
    told: dict[str, str] = {}
    for setting, by_label in words.items():
        alike = len(set(by_label.values())) == 1 and setting
        told |= {setting: next(iter(by_label.values()))} if alike else by_label
    return told


def _setting(comparison: Comparison, condition: Condition) -> str:
    """The condition's label without its clipping."""
    factors = [factor for factor in comparison.telling if not is_of_clipping(factor)]
    return ", ".join(condition.options[factor] for factor in factors)


def _changed(comparison: Comparison, effect: Effect, count: int) -> str:
    """`On lstm, global_norm clipped 26% of steps: decay rate +0.01 [..] (no difference shown); ...`, as one of
    `count` intervals."""
    option = ", ".join(value for key, value in effect.clipped.options.items() if is_of_clipping(key))
    setting = _setting(comparison, effect.plain)
    changes = [
        f"{name} {cells.signed(found)} ({_conclusion(found, count)})"
        for name, found in (("decay rate", effect.rate), (cells.metric_title(comparison), effect.metric))
        if found is not None
    ]
    share = cells.percent(effect.clipped.clipped)
    clipped = f"{f'On {setting}, ' if setting else ''}{option} clipped {share} of steps"
    return typeset(f"{clipped}: {'; '.join(changes)}." if changes else f"{clipped}.")


def _conclusion(found: Interval, count: int) -> str:
    """What the interval shows as one of `count`: by Bonferroni, its ends at 1 - 0.05 / count, so that among all
    of them none excludes 0 by chance with 95%."""
    if found.n < 2:
        return "one seed, so no interval"
    wider = t_quantile(found.n - 1, 1 - (1 - CONFIDENCE) / max(count, 1)) / t_quantile(found.n - 1)
    low, high = (found.mean + wider * (end - found.mean) for end in (found.low, found.high))
    if low <= 0 <= high:
        alone = not found.low <= 0 <= found.high
        return f"no difference shown, as one of {count}" if alone else "no difference shown"
    return "higher" if low > 0 else "lower"


def _listed(labels: list[str]) -> str:
    """`rnn / digits, lstm / digits`: the options of one label closer together than the labels."""
    return ", ".join(label.replace(", ", " / ") for label in labels)
