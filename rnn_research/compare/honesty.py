"""What a reader of a comparison should know before believing it, in words: who is left out and why, what differs beside
the factors, and which numbers rest on little.

A pure function of the comparison: the terminal and the page say the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from rnn_research.compare.comparison import Comparison
from rnn_research.compare.conditions import Condition
from rnn_research.compare.effects import Effect
from rnn_research.curves import Reading
from rnn_research.records.printable import middle, printable_values
from rnn_research.records.runs import RunRecord

FEWEST_DISTANCES = 10
"""A rate fitted over fewer is marked: the error of one distance turns the line."""
FEW_SAID = f"† fitted over fewer than {FEWEST_DISTANCES} distances"
UNDERFLOW_SAID = "‡ fitted without the norms that sink below what float32 holds"
MIXED_SAID = "average gradients of different training steps §"
FEWEST_SEEDS = 3
SIZES_APART = 0.1
"""Conditions whose numbers of parameters differ by a larger share are compared with a warning."""
SPEED = ("cores", "threads")
"""What a record says of the machine that changes no number."""
OF_ENGINE = ("asked", "why")
LISTED, LONGEST = 3, 48
"""So many names are listed, each in so many signs."""
LEFT_OUT = (
    ("running", "unfinished: still running", "unfinished, still running or killed; if killed, resume=FOLDER goes on"),
    ("interrupted", "unfinished: interrupted", "interrupted; resume=FOLDER goes on"),
    ("failed", "failed: ", "failed"),
    ("other data", "other data: ", "on other data than most with the same dataset config"),
    ("repeated", "repeated: ", "repeated: a later run has the same condition and seed"),
)
"""Kind, how the reason of such a run begins, and what is said of all of them."""


@dataclass(frozen=True)
class Caveat:
    """One thing to know: its kind (a key for who shows it), one sentence without its full stop, and the runs or
    conditions that it is about."""

    kind: str
    text: str
    about: tuple[str, ...] = ()


def caveats(comparison: Comparison) -> list[Caveat]:
    """What to know before reading `comparison`; empty where there is nothing. In order: who is left out, who diverged,
    what differs beside the factors, the steps that are looked at, the metric, the sizes, and the rates that rest on
    little. Names in it, and texts of errors, have nothing in them that a terminal would obey."""
    found = [
        *_left_out(comparison),
        *_diverged(comparison),
        *_lacking(comparison),
        *_surroundings(comparison),
        *_steps(comparison),
        *_lengths(comparison),
        *_seeds(comparison),
        *_metric(comparison),
        *_parameters(comparison),
        *_rates(comparison),
    ]
    return [_printable(caveat) for caveat in found]


def _printable(caveat: Caveat) -> Caveat:
    about = tuple(printable_values(list(caveat.about)))
    return replace(caveat, text=printable_values(caveat.text), about=about)


def few_distances(reading: Reading) -> bool:
    """Whether a rate is shown that was fitted over fewer than 10 distances."""
    return reading.decay.holds and reading.decay.used < FEWEST_DISTANCES


def near_underflow(reading: Reading) -> bool:
    """Whether a rate is shown although some norms, or some seeds, sink below what float32 holds."""
    decay = reading.decay
    return decay.holds and (decay.far.under or decay.sunk > 0 or "underflows" in decay.left_out)


def _left_out(comparison: Comparison) -> Iterator[Caveat]:
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for item in comparison.excluded:
        kind = next((kind for kind, start, _ in LEFT_OUT if item.reason.startswith(start)), "damaged")
        groups[kind].append((comparison.name(item.folder), item.reason))
    for kind, _, said in (*LEFT_OUT, ("damaged", "", "can't be read")):
        if members := groups.get(kind):
            names = tuple(name for name, _ in members)
            why = said
            if kind in ("failed", "damaged"):
                reasons = Counter(reason.removeprefix("failed: ") for _, reason in members)
                why = f"{said}, {_counted(reasons, 120)}"
            yield Caveat(kind, f"{_count(names, 'run')} left out, {why}: {_listed(names)}", names)


def _diverged(comparison: Comparison) -> Iterator[Caveat]:
    names = tuple(comparison.name(run.folder) for run in comparison.runs if run.diverged)
    if names:
        where = Counter({comparison.label(c): len(c.diverged) for c in comparison.conditions if c.diverged})
        said = "they count as a result, and are not in the mean of the metric"
        yield Caveat("diverged", f"{_count(names, 'run')} diverged, {_counted(where)}: {said}", names)


def _lacking(comparison: Comparison) -> Iterator[Caveat]:
    names = tuple(comparison.name(run.folder) for run in comparison.runs if run.missing)
    if names:
        reasons = Counter(lack for run in comparison.runs for lack in run.missing)
        said = f"{_count(names, 'run')} compared although incomplete, {_counted(reasons, 120)}: {_listed(names)}"
        yield Caveat("incomplete", said, names)


def _surroundings(comparison: Comparison) -> Iterator[Caveat]:
    """Machines, engines and versions that differ between the runs, each fact for itself."""
    records = [run.record for run in comparison.runs]
    order = "sums are taken in another order, so that equal seeds need not give equal numbers"
    for kind, facts, effect in (
        ("machine", [_of_machine(record) for record in records], order),
        ("engine", [_of_engine(record) for record in records], order),
        ("version", [_of_version(record) for record in records], "what they compute may differ too"),
    ):
        for name in dict.fromkeys(name for own in facts for name in own):
            values = Counter(own.get(name, "unknown") for own in facts)
            if len(values) > 1:
                mixed = _mixed(comparison, facts, name)
                yield Caveat(kind, f"{name} differs{mixed}, {_counted(values)}: {effect}")


def _of_machine(record: RunRecord) -> dict[str, str]:
    return {str(name): str(value) for name, value in record.machine.items() if name not in SPEED}


def _of_engine(record: RunRecord) -> dict[str, str]:
    return {f"engine {name}": str(value) for name, value in record.engine.items() if name not in OF_ENGINE}


def _of_version(record: RunRecord) -> dict[str, str]:
    return {**{str(name): str(value) for name, value in record.versions.items()}, "commit": record.commit or "unknown"}


def _mixed(comparison: Comparison, facts: Sequence[dict[str, str]], name: str) -> str:
    """Whether the values differ within a condition, whose seeds are averaged all the same."""
    at, mixed = 0, 0
    for condition in comparison.conditions:
        own, at = facts[at : at + len(condition.runs)], at + len(condition.runs)
        mixed += len({fact.get(name, "unknown") for fact in own}) > 1
    return f", also within {mixed} of {len(comparison.conditions)} conditions" if mixed else ", between conditions"


def _steps(comparison: Comparison) -> Iterator[Caveat]:
    """Gradients that are looked at, and averaged, at different training steps."""
    seen = sorted({step for condition in comparison.conditions for step in condition.steps})
    if len(seen) < 2:
        return
    mixed = tuple(comparison.label(c) for c in comparison.conditions if len(c.steps) > 1)
    within = (
        f"{len(mixed)} of {_count(comparison.conditions, 'condition')} {MIXED_SAID}"
        if mixed
        else "the conditions' gradients are of different training steps"
    )
    shared = set.intersection(*(set(run.steps) for run in comparison.runs if run.chosen))
    repair = f"--step {max(shared)} reads all at the last that all recorded" if shared else "no step is in all runs"
    named = f": {_labels(mixed)}" if mixed else ""
    yield Caveat("different steps", f"{within}, {seen[0]:,} to {seen[-1]:,} ({repair}){named}", mixed)


def _lengths(comparison: Comparison) -> Iterator[Caveat]:
    """Words of two steps whose batches have sequences of other lengths."""
    lengths = {comparison.label(c): c.lengths for c in comparison.conditions if c.lengths}
    if lengths:
        first, last = next(iter(lengths.values()))
        said = f"words of two steps are over different lengths, {first} and {last} applications, as their batches are: "
        names = tuple(lengths)
        yield Caveat(
            "different lengths", f"{said}they differ by that too, not by training alone: {_labels(names)}", names
        )


def _seeds(comparison: Comparison) -> Iterator[Caveat]:
    seeds = {comparison.label(c): {run.record.seed for run in c.runs} for c in comparison.conditions}
    counts = [len(own) for own in seeds.values()]
    if len(set(counts)) > 1:
        least, most = min(counts), max(counts)
        few = tuple(name for name, own in seeds.items() if len(own) < most)
        said = f"conditions have {least} to {most} seeds; with fewer than {most}: {_labels(few)}"
        yield Caveat("unequal seeds", said, few)
    elif len({frozenset(own) for own in seeds.values()}) > 1:
        said = "conditions have as many seeds but not the same ones: differences are paired over those that both have"
        yield Caveat("unequal seeds", said)
    if apart := [effect for effect in comparison.effects if not _paired(effect)]:
        names = tuple(f"{comparison.label(e.clipped)} and {comparison.label(e.plain)}" for e in apart)
        said = f"{len(apart)} of {_count(comparison.effects, 'difference')} from the baseline can't be taken"
        yield Caveat("no pair", f"{said}, since no seed is in both conditions: {_labels(names)}", names)
    few = tuple(name for name, own in seeds.items() if len(own) < FEWEST_SEEDS)
    if few:
        which = "all conditions have" if len(few) == len(seeds) else f"{len(few)} of {len(seeds)} conditions have"
        what = f"{which} fewer than {FEWEST_SEEDS} seeds: no interval over seeds is possible that says anything"
        yield Caveat("few seeds", what, few)
    short = tuple(comparison.label(c) for c in comparison.conditions if 0 < c.read < min(FEWEST_SEEDS, c.seeds))
    if short:
        least = min(c.read for c in comparison.conditions if 0 < c.read < min(FEWEST_SEEDS, c.seeds))
        what = (
            f"the gradient of {_count(short, 'condition')} could be read of fewer than {FEWEST_SEEDS} seeds "
            f"({least} at the least): it has no interval over seeds"
        )
        yield Caveat("few seeds", f"{what}: {_labels(short)}", short)


def _paired(effect: Effect) -> bool:
    """Whether some seed is in both conditions."""
    ours, theirs = ({run.record.seed for run in one.runs} for one in (effect.clipped, effect.plain))
    return bool(ours & theirs)


def _metric(comparison: Comparison) -> Iterator[Caveat]:
    tasks: dict[str, list[str]] = defaultdict(list)
    for task, name in comparison.metrics.items():
        if name is not None:
            tasks[name].append(task)
    tested = [name for name in tasks if name.startswith("test_")]
    if tested:
        known = {name for run in comparison.runs for name in run.record.final}
        alike = (name.replace("test_", "val_", 1) for name in tested)  # BLEU is of the test set alone
        others = " or ".join(dict.fromkeys(f"--metric {name if name in known else 'val_loss'}" for name in alike))
        is_of = "is" if len(tested) == 1 else "are"
        said = f"{_listed(tested)} {is_of} of the test set, for a last comparison: what is chosen by it looks better"
        yield Caveat("test set", f"{said} than it is (choose by {others})")
    if len(tasks) > 1:
        by = "; ".join(f"{_listed(own)} by {name}" for name, own in tasks.items())
        said = "the tasks have no metric in common that tells how well they are solved: each is compared by its own, "
        yield Caveat(
            "no common metric", f"{said}{by}; no mean or difference is of two metrics", tuple(comparison.metrics)
        )
    pooled = tuple(comparison.label(c) for c in comparison.conditions if c.metric_name is None and len(tasks) > 1)
    if pooled:
        said = f"{len(pooled)} of {_count(comparison.conditions, 'condition')} pool tasks that have different metrics"
        yield Caveat("no metric", f"{said}, and have no mean: {_labels(pooled)}", pooled)
    without = tuple(
        comparison.label(c)
        for c in comparison.conditions
        if tasks and c.metric is None and comparison.label(c) not in pooled
    )
    if without:
        named = next(iter(tasks)) if len(tasks) == 1 else "their metric"
        said = f"{len(without)} of {_count(comparison.conditions, 'condition')} without {named}: {_labels(without)}"
        yield Caveat("no metric", said, without)


def _parameters(comparison: Comparison) -> Iterator[Caveat]:
    sizes = {comparison.label(c): c.parameters for c in comparison.conditions if c.parameters}
    counts = sorted((count, name) for name, own in sizes.items() for count in own)
    if not counts or counts[-1][0] <= (1 + SIZES_APART) * counts[0][0]:
        return
    (least, small), (most, large) = counts[0], counts[-1]
    times = f" ({most / least:.3g} times as many)" if least else ""
    said = f"parameters differ by more than 10%: {least:,} ({middle(small, LONGEST)}) to {most:,} "
    yield Caveat(
        "parameters", f"{said}({middle(large, LONGEST)}){times}; the metric compares sizes too", (small, large)
    )


def _rates(comparison: Comparison) -> Iterator[Caveat]:
    kinds = (("few distances", few_distances, FEW_SAID), ("near underflow", near_underflow, UNDERFLOW_SAID))
    for kind, holds, said in kinds:
        marked = [c for c in comparison.conditions if c.chosen is not None and holds(c.chosen)]
        names = tuple(comparison.label(c) for c in marked)
        if names:
            yield Caveat(kind, f"{_count(names, 'rate')} {said}{_over(marked, kind)}: {_labels(names)}", names)


def _over(marked: Sequence[Condition], kind: str) -> str:
    used = [c.chosen.decay.used for c in marked if c.chosen]
    return f" ({min(used)})" if kind == "few distances" and len(set(used)) == 1 else ""


def _count(items: Sequence[object], noun: str) -> str:
    return f"{len(items)} {noun}{'s' * (len(items) != 1)}"


def _labels(names: Sequence[str]) -> str:
    """The conditions of these labels: the options of one closer together than the labels."""
    return _listed([name.replace(", ", " / ") for name in names])


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(middle(name, LONGEST) for name in names[:LISTED]) + more


def _counted(counts: Counter[str], longest: int = LONGEST) -> str:
    """`native (12), torch (6)`; the commonest first."""
    shown: Iterable[tuple[str, int]] = counts.most_common(LISTED)
    more = f" and {len(counts) - LISTED} more" if len(counts) > LISTED else ""
    return ", ".join(f"{middle(name, longest)} ({count})" for name, count in shown) + more
