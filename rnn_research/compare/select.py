"""Which runs can be compared, and why the others can't: nothing is left out without a reason."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from rnn_research.compare.factors import Factors, Settings, factors_of, settings_of
from rnn_research.records import runs
from rnn_research.records.identity import is_factor
from rnn_research.records.printable import printable, printable_values
from rnn_research.records.runs import RunRecord

MOST_LEFT_OUT = 1_000
# How samples are served, which changes none.
BATCHING = ("batch_size", "bucket", "num_workers")
UNFINISHED = {
    "running": "unfinished: still running or killed; if killed, go on with resume=FOLDER or run it again",
    "interrupted": "unfinished: interrupted; go on with resume=FOLDER, or run it again",
}


@dataclass(frozen=True)
class SelectedRun:
    """A run's record, where it lies, and what it was trained with, as text by key."""

    folder: Path
    record: RunRecord
    settings: Settings


@runtime_checkable
class HasSettings(Protocol):
    """A run with its record and settings."""

    @property
    def record(self) -> RunRecord: ...

    @property
    def settings(self) -> Settings: ...


@dataclass(frozen=True)
class Begun:
    """What a run that once began was trained with, as text by key, and the keys that were typed for it."""

    settings: Settings
    typed: frozenset[str]


@dataclass(frozen=True)
class ExcludedRun:
    """A run that is not compared, and why."""

    folder: Path
    reason: str


@dataclass(frozen=True)
class Selection:
    """The comparable runs, what varies among them, who is left out, and what a reader should know."""

    found: tuple[SelectedRun, ...]
    factors: Factors
    excluded: tuple[ExcludedRun, ...]
    notes: tuple[str, ...]


def select(folders: Iterable[Path]) -> Selection:
    """Read every record at or below `folders` and keep those that can be compared.

    Left out, in this order: records that are damaged or of another version, runs that are unfinished or
    failed, runs on other data than most with the same dataset config, and of several runs of one condition
    with one seed all but the latest. A run that diverged stays: divergence is a result.
    """
    records, damaged = _read(folders)
    records, unfinished = _finished(records)
    settings = settings_of([record for _, record in records])
    found = [SelectedRun(*item, own) for item, own in zip(records, settings, strict=True)]
    found, strangers, notes = _same_data(found)
    factors = _factors(found)
    found, repeated = _latest(found, factors)
    # A run left out as a repetition may have been the only one with its option.
    factors = _factors(found) if repeated else factors
    excluded = (*damaged, *unfinished, *strangers, *repeated)  # reasons name folders, whose names can be any bytes
    excluded = tuple(replace(item, reason=printable(item.reason)) for item in excluded)
    return Selection(tuple(found), factors, excluded, notes)


def _factors(found: list[SelectedRun]) -> Factors:
    return factors_of([item.record for item in found], [item.settings for item in found])


def _read(folders: Iterable[Path]) -> tuple[list[tuple[Path, RunRecord]], list[ExcludedRun]]:
    found, excluded = [], []
    for folder in runs.find(folders):
        try:
            found.append((folder, printable_record(runs.read(folder))))
        except runs.DamagedRecord as error:
            excluded.append(ExcludedRun(folder, error.reason))
    return found, excluded


def printable_record(record: RunRecord) -> RunRecord:
    """With names and values that nothing carries out where they are shown: tables, figures and pages."""
    values = {item.name: getattr(record, item.name) for item in fields(record) if item.name != "error"}
    return replace(record, **printable_values(values))


def _finished(records: list[tuple[Path, RunRecord]]) -> tuple[list[tuple[Path, RunRecord]], list[ExcludedRun]]:
    kept, excluded = [], []
    for folder, record in records:
        if record.status in ("done", "diverged"):
            kept.append((folder, record))
        else:
            failed = f"failed: {_one_line(record.error or 'no error was recorded')}"
            excluded.append(ExcludedRun(folder, UNFINISHED.get(record.status, failed)))
    return kept, excluded


def _same_data(found: list[SelectedRun]) -> tuple[list[SelectedRun], list[ExcludedRun], tuple[str, ...]]:
    """Runs whose dataset config agrees must have read the same data: its fingerprint decides.

    A dataset drawn anew for each seed has as many fingerprints as seeds; that is a design, and only noted,
    where the data are also from the same place.
    """
    groups: dict[tuple[str, ...], list[SelectedRun]] = defaultdict(list)
    for item in found:
        groups[_dataset(item)].append(item)
    strangers, notes = {}, []
    for (name, *_), members in groups.items():
        prints = [_fingerprint(item) for item in members]
        by_seed = {(item.record.seed, fingerprint) for item, fingerprint in zip(members, prints, strict=True)}
        if len(set(prints)) == len({seed for seed, _ in by_seed}) == len(by_seed) > 1 and _one_place(members):
            notes.append(f"{name}: every seed has data of its own")
            continue
        usual = Counter(prints).most_common(1)[0][0]
        strangers |= {item.folder: usual for item in members if _fingerprint(item) != usual}
    excluded = [
        ExcludedRun(item.folder, f"other data: fingerprint {_fingerprint(item)}, most have {strangers[item.folder]}")
        for item in found
        if item.folder in strangers
    ]
    return [item for item in found if item.folder not in strangers], excluded, tuple(notes)


def _fingerprint(item: SelectedRun) -> str:
    return str(item.record.data.get("fingerprint"))


def _dataset(item: SelectedRun) -> tuple[str, ...]:
    """What names a dataset, and all that is configured of its data but where they lie: for that there is the
    fingerprint."""
    name = item.record.choices.get("dataset") or str(item.record.data.get("name"))
    return name, *(f"{key}={value}" for key, value in sorted(_data_keys(item).items()) if is_factor(key))


def _data_keys(item: SelectedRun) -> dict[str, str]:
    """The settings of a run's data, without how samples are served."""
    below = ((key, value) for key, value in item.settings.items() if key.startswith("dataset."))
    return {key: value for key, value in below if key.partition(".")[2] not in BATCHING}


def _one_place(members: list[SelectedRun]) -> bool:
    configs = [_data_keys(item) for item in members]
    keys = {key for config in configs for key in config}
    return all(len({config.get(key) for config in configs}) == 1 for key in keys)


def _latest(found: list[SelectedRun], factors: Factors) -> tuple[list[SelectedRun], list[ExcludedRun]]:
    """Of the runs of one condition with one seed, the one that started last."""
    groups: dict[tuple[object, ...], list[SelectedRun]] = defaultdict(list)
    for item in found:
        groups[(*factors.condition(item.settings), item.record.seed)].append(item)
    kept, excluded = [], []
    for members in groups.values():
        *older, latest = sorted(members, key=lambda item: item.record.start)
        kept.append(latest)
        excluded += [ExcludedRun(item.folder, _repeated(item, latest)) for item in older]
    latest_of = set(map(id, kept))
    return [item for item in found if id(item) in latest_of], excluded


def beginnings(found: Iterable[HasSettings], excluded: Sequence[ExcludedRun]) -> list[Begun]:
    """Every run whose record can be read, those that started earlier first: also runs that failed, or are left out for
    another reason (of more than 1,000 such runs, so many)."""
    known = [(run.record.start, _begun(run.record, run.settings)) for run in found]
    for item in excluded[:MOST_LEFT_OUT]:
        try:
            record = printable_record(runs.read(item.folder))
        except (runs.DamagedRecord, OSError):
            continue
        known.append((record.start, _begun(record, settings_of([record])[0])))
    return [begun for _, begun in sorted(known, key=lambda one: one[0])]


def _begun(record: RunRecord, settings: Settings) -> Begun:
    typed = (text.lstrip("+~").partition("=")[0] for text in record.overrides)
    return Begun(settings, frozenset(key for key in typed if not key.startswith("-")))


def _repeated(item: SelectedRun, latest: SelectedRun) -> str:
    if replace(item.record, name="") == replace(latest.record, name=""):
        return f"repeated: a copy of {latest.folder}, with the same record"
    later = (
        "started later" if item.record.start < latest.record.start else "started at the same time, and is later by name"
    )
    return f"repeated: {latest.folder.name} is of the same condition and seed and {later}"


def _one_line(text: str, most: int = 200) -> str:
    line = " ".join(printable(text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
