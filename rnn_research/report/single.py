"""One run, two runs side by side, and the best run, as text for a terminal."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rnn_research.compare import ComparedRun
from rnn_research.compare.factors import settings_of
from rnn_research.compare.honesty import FEW_SAID, UNDERFLOW_SAID, few_distances, near_underflow
from rnn_research.compare.single import BestRun, readings
from rnn_research.compare.stamps import LOG
from rnn_research.curves import Reading
from rnn_research.records import whole_file
from rnn_research.records.canonical import ABSENT
from rnn_research.records.printable import printable
from rnn_research.records.runs import RunRecord
from rnn_research.report import as_text, columns
from rnn_research.report.fitting import KEPT, TextColumn, fitted, lines, narrow, wrapped
from rnn_research.report.sparkline import Scale
from rnn_research.report.terminal import WIDTH

TAIL = 1 << 16
"""Bytes at the end of a log that are read."""
BEFORE = 8
"""Signs that are shown before the first in which two long values differ."""
HALF = (WIDTH - 4) // 3


def best_text(found: BestRun) -> str:
    """The best run's folder, its value, and the command that repeats it."""
    of = f"{'highest' if found.higher else 'lowest'} of {found.among} run{'s' * (found.among != 1)}"
    of += f"; {found.ties} more with the same value" if found.ties else ""
    test = "; chosen by the test set, it looks better there than it is" if found.metric.startswith("test_") else ""
    return _facts(
        {
            "folder": str(found.folder),
            found.metric: f"{found.value:.6g} ({of}{test})",
            "command": columns.repeating(found.record),
        }
    )


def show_text(run: ComparedRun, log_lines: int) -> str:
    """Status, condition, command, metrics, gradient by layer, verdict, what is missing, and the end of the log."""
    record = run.record
    blocks = [
        _facts(
            {
                "folder": str(run.folder),
                "status": _status(record),
                "condition": " ".join(f"{key}={value}" for key, value in record.choices.items()),
                **_record_facts(record),
                "command": columns.repeating(record),
            }
        ),
        _titled("METRICS", _metrics(record)),
        *_gradient(run),
        _titled("MISSING", "\n".join(wrapped(f"* {lack}", WIDTH, "  ") for lack in run.missing)),
        _titled("END OF THE LOG", _log_end(run.folder / LOG, log_lines)),
    ]
    return "\n\n".join(block for block in blocks if block)


def diff_text(one: ComparedRun, other: ComparedRun) -> str:
    """What two runs differ in: the config, the record, the metrics and the gradient, side by side."""
    records = (one.record, other.record)
    shared = os.path.commonpath([run.folder.resolve() for run in (one, other)])
    names = [os.path.relpath(run.folder.resolve(), shared) for run in (one, other)]
    head = names if names[0] != names[1] else ["first", "second"]
    settings = settings_of(records)
    keys = sorted(dict.fromkeys(key for own in settings for key in own))
    config = [(key, settings[0].get(key, ABSENT), settings[1].get(key, ABSENT)) for key in keys]
    facts = [{"status": _status(record), **_record_facts(record)} for record in records]
    record = [(name, *_both(name, facts)) for name in facts[0] | facts[1]]
    blocks = [
        _titled("CONFIG", _pairs("key", head, _differing(config)) or "the same"),
        _titled("RECORD", _pairs("what", head, _differing(record)) or "the same"),
        _titled("METRICS", _metric_pairs(head, records)),
        _titled("GRADIENT at the last recorded step", _gradient_pairs(head, (one, other))),
    ]
    return "\n\n".join(block for block in blocks if block)


def _status(record: RunRecord) -> str:
    at = f" at step {record.diverged_step:,}" if record.diverged_step is not None else ""
    error = f": {' '.join(record.error.split())}" if record.error else ""
    return f"{record.status}{at}, {_count(record.steps, 'step')}, {_count(record.epochs, 'epoch')}{error}"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


def _record_facts(record: RunRecord) -> dict[str, str]:
    engine = record.engine
    facts = {
        "seed": str(record.seed),
        "parameters": f"{record.parameters:,}",
        "data": str(record.data.get("fingerprint", as_text.NOTHING)),
        "engine": f"{engine.get('used')} (asked for {engine.get('asked')}: {engine.get('why')})" if engine else "",
        "weights": _weights(record.weights),
        "machine": ", ".join(f"{key} {value}" for key, value in record.machine.items() if value is not None),
        "versions": ", ".join(f"{key} {value}" for key, value in record.versions.items()),
        "commit": record.commit or "",
        "started": record.start,
        "took": _duration(record),
    }
    return {key: value for key, value in facts.items() if value}


def _weights(kept: Mapping[str, Any]) -> str:
    """Which weights were measured after training, and how they were chosen; empty where a record does not say."""
    measured, best = kept.get("measured"), kept.get("best")
    if not isinstance(best, Mapping) or measured != best.get("file"):
        return f"the last, {measured}" if measured else ""
    return f"the best, {measured}: step {best.get('step')}, by val_{best.get('metric')} {best.get('value')}"


def _duration(record: RunRecord) -> str:
    try:
        seconds = (datetime.fromisoformat(record.end or "") - datetime.fromisoformat(record.start)).total_seconds()
    except (ValueError, TypeError):
        return ""
    return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:.3g} min"


def _metrics(record: RunRecord) -> str:
    names = list(dict.fromkeys([*record.final, *record.best, *record.baselines]))
    if not names:
        return "none was recorded"
    parts = {"final": record.final, "best": record.best, "baseline": record.baselines}
    shown = [TextColumn("metric", tuple(names), keep=KEPT)]
    shown += [
        TextColumn(title, tuple(_number(found.get(name)) for name in names), True)
        for title, found in parts.items()
        if found
    ]
    return _table(shown)


def _gradient(run: ComparedRun) -> list[str]:
    found = readings(run)
    if not found or run.chosen is None:
        return []
    scale = Scale(list(found.values()))
    rows = list(found.values())
    shown = [
        TextColumn("of", tuple(found), keep=KEPT),
        TextColumn("far ratio [95%]", tuple(map(as_text.far, rows)), True, 95),
        TextColumn("curve", tuple(map(scale.drawn, rows)), False, 80),
        TextColumn("rate [95%]", tuple(map(as_text.rate, rows)), True, 90),
        TextColumn("horizon", tuple(map(as_text.horizon, rows)), True, 70),
        TextColumn("verdict", tuple(map(as_text.words, rows)), False, 99),
    ]
    verdict = run.chosen.verdict
    title = f"GRADIENT at step {run.chosen.curve.step}; curve: {scale.said()}"
    table = "\n".join([_table(shown), *_marks(rows)])
    return [_titled(title, table), wrapped(f"Verdict: {verdict.headline}: {verdict.reason}.", WIDTH)]


def _marks(rows: Sequence[Reading]) -> list[str]:
    """What the marks at rates mean, where there are any."""
    kinds = ((few_distances, FEW_SAID), (near_underflow, UNDERFLOW_SAID))
    return [f"({said})" for holds, said in kinds if any(map(holds, rows))]


def _metric_pairs(head: Sequence[str], records: Sequence[RunRecord]) -> str:
    names = list(dict.fromkeys(name for record in records for name in record.final))
    values = [[record.final.get(name) for name in names] for record in records]
    apart = [_number(None if a is None or b is None else b - a) for a, b in zip(*values, strict=True)]
    if not names:
        return "none was recorded"
    shown = [TextColumn("metric", tuple(names), keep=KEPT)]
    shown += [TextColumn(title, tuple(map(_number, own)), True, KEPT) for title, own in zip(head, values, strict=True)]
    return _table([*shown, TextColumn("second less first", tuple(apart), True, 90)])


def _gradient_pairs(head: Sequence[str], both: Sequence[ComparedRun]) -> str:
    found = [readings(run) for run in both]
    names = dict.fromkeys(name for own in found for name in own)
    views = {
        "far ratio [95%]": as_text.far,
        "rate [95%]": as_text.rate,
        "half-life": as_text.half_life,
        "horizon": as_text.horizon,
        "verdict": as_text.words,
    }

    def cell(reading: Reading | None, title: str) -> str:
        return as_text.NOTHING if reading is None else views[title](reading)

    one, other = found
    rows = [
        (f"{title}, {name}", cell(one.get(name), title), cell(other.get(name), title))
        for name in names
        for title in views
    ]
    return _pairs("what", head, rows) or "not recorded"


def _both(name: str, facts: Sequence[Mapping[str, str]]) -> tuple[str, str]:
    one, other = (own.get(name, as_text.NOTHING) for own in facts)
    return one, other


def _differing(rows: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    return [row for row in rows if row[1] != row[2]]


def _pairs(title: str, head: Sequence[str], rows: Sequence[tuple[str, str, str]]) -> str:
    """Rows of a name and two values; long values from shortly before where they differ."""
    if not rows:
        return ""
    names, ones, others = zip(*((name, *_around(one, other)) for name, one, other in rows), strict=True)
    shown = [TextColumn(title, names, keep=KEPT)]
    return _table([*shown, *(TextColumn(name, own, keep=KEPT) for name, own in zip(head, (ones, others), strict=True))])


def _around(one: str, other: str) -> tuple[str, str]:
    if max(len(one), len(other)) <= HALF:
        return one, other
    same = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    start = max(same - BEFORE, 0)
    cut = [f"{'…' if start else ''}{text[start:]}" for text in (one, other)]
    short = [text if len(text) <= HALF else f"{text[: HALF - 1]}…" for text in cut]
    return short[0], short[1]


def _table(shown: Sequence[TextColumn]) -> str:
    return lines(fitted(shown, WIDTH)[0])


def _titled(title: str, block: str) -> str:
    return f"{title}\n{block}" if block else ""


def _facts(facts: Mapping[str, str]) -> str:
    """A line each, uncut: they are there to be copied."""
    width = max(map(len, facts))
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in facts.items())


def _number(value: float | None) -> str:
    return as_text.NOTHING if value is None else f"{value:.6g}"


def _log_end(path: Path, count: int) -> str:
    """The last lines of a log, each within the terminal; empty where there is none."""
    try:
        with whole_file.opened(path) as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - TAIL, 0))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    found = text.splitlines()[-count:] if count else []
    return "\n".join(narrow(printable(line).replace("\t", "    "), WIDTH) for line in found)
