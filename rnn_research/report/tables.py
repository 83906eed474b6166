"""The comparison's numbers by row, and as CSV with every digit."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from rnn_research.compare import ComparedRun, Comparison, Condition, GradientAtStep, Success
from rnn_research.curves import Reading
from rnn_research.records.printable import csv_cell
from rnn_research.statistics.intervals import Interval

Row = dict[str, Any]


def constant(comparison: Comparison) -> str:
    """What is the same in all runs, what is pooled, and what else to know, in sentences."""
    same = ", ".join(f"{key}={value}" for key, value in comparison.constant.items())
    along = [factor for factor in comparison.varying if factor not in comparison.distinguishing_factors]
    follow = f"Goes with the factors shown: {', '.join(along)}." if along else ""
    pooled = f"Pooled over {', '.join(comparison.pooled)}." if comparison.pooled else ""
    notes = " ".join(f"{note}." for note in comparison.notes)
    return " ".join(part for part in (f"The same in all: {same}." if same else "", follow, pooled, notes) if part)


def condition_rows(comparison: Comparison) -> list[Row]:
    """One row a condition, by column; a column that it lacks is not there."""
    return [_condition_row(comparison, condition) for condition in comparison.conditions]


def conditions_csv(comparison: Comparison) -> str:
    """One row a condition."""
    return _csv(condition_rows(comparison))


def runs_csv(comparison: Comparison) -> str:
    """One row a run; runs that were left out too, with the reason."""
    rows = [_run_row(comparison, condition, run) for condition in comparison.conditions for run in condition.runs]
    left_out = [{"run": comparison.name(item.folder), "left_out": item.reason} for item in comparison.excluded]
    return _csv([*rows, *left_out])


def answers_csv(comparison: Comparison) -> str:
    """One row a condition, feature and bin; empty where no run has answers."""
    rows = [
        {
            **condition.options,
            "feature": feature,
            "from": low,
            "to": high,
            **_interval_cells(comparison.measure, mean),
            "samples": samples,
        }
        for condition in comparison.conditions
        for feature, found in condition.answers.items()
        for low, high, mean, samples in zip(found.bins.low, found.bins.high, found.mean, found.samples, strict=True)
    ]
    return _csv(rows) if rows else ""


def _condition_row(comparison: Comparison, condition: Condition) -> Row:
    metric = condition.metric_name or "metric"
    return {
        **condition.options,
        "runs": len(condition.runs),
        "diverged": len(condition.diverged),
        **_interval_cells(metric, condition.metric),
        f"{metric}_baseline": condition.baseline,
        **_success_cells(condition.success),
        **_reading_cells("", condition.chosen),
        **_reading_cells("start_", condition.start),
        **_beside_cells(condition),
        **_interval_cells("clipped", condition.clipped),
        "parameters": " ".join(map(str, condition.parameters)),
    }


def _interval_cells(name: str, found: Interval | None) -> Row:
    if found is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None, f"{name}_n": 0}
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high, f"{name}_n": found.n}


def _success_cells(found: Success | None) -> Row:
    if found is None:
        return {}
    first, last = (found.steps[0], found.steps[-1]) if found.steps else (None, None)
    return {
        "solved": found.solved,
        "solved_of": found.runs,
        "steps_to_success": found.median.median,
        "steps_to_success_low": found.median.low,
        "steps_to_success_high": found.median.high,
        "steps_to_success_least": first,
        "steps_to_success_most": last,
        "censored": len(found.censored),
    }


def _reading_cells(prefix: str, reading: Reading | None) -> Row:
    if reading is None:
        return {}
    return {f"{prefix}{key}": value for key, value in _decay_cells(reading).items()}


def _beside_cells(condition: Condition) -> Row:
    row: Row = {}
    for name, reading in condition.beside.items():
        row |= {f"{name} far_ratio": reading.decay.far_ratio, f"{name} verdict": reading.verdict.word}
    return row


def _decay_cells(found: Reading | GradientAtStep) -> Row:
    decay, far, law = found.decay, found.decay.far, found.decay.law
    return {
        "rate": decay.rate,
        "rate_low": decay.low,
        "rate_high": decay.high,
        "rate_is_bound": decay.bounded,
        "rate_holds": decay.holds,
        "half_life": decay.half_life,
        "horizon": decay.horizon,
        "far_ratio": far.ratio,
        "far_ratio_low": far.low,
        "far_ratio_high": far.high,
        "far_ratio_is_bound": far.under,
        "from_distance": far.first,
        "to_distance": far.last,
        "samples_fall": far.falls.share,
        "samples_keep": far.keeps.share,
        "samples_rise": far.rises.share,
        "samples_gone": far.gone,
        "law": law.name,
        "bend": law.bend,
        "slope_before_bend": law.slopes[0],
        "slope_after_bend": law.slopes[1],
        "misfit": law.misfit,
        "r_squared": decay.r_squared,
        "power": decay.power,
        "better_law": decay.better,
        "distances_fitted": decay.used,
        "left_out_of_fit": decay.left_out,
        "seeds_gone": decay.beyond.get("gone", 0),
        "seeds_overflowed": decay.beyond.get("overflowed", 0),
        "verdict": found.verdict.word,
        "verdict_or": ", ".join(found.verdict.also),
        "reason": found.verdict.reason,
    }


def _run_row(comparison: Comparison, condition: Condition, run: ComparedRun) -> Row:
    metric = run.metric or "metric"
    row: Row = {"run": comparison.name(run.folder), **condition.options, "seed": run.record.seed}
    row |= {"status": run.record.status, "diverged_step": run.record.diverged_step}
    row |= {metric: run.record.final.get(metric), f"{metric}_baseline": run.record.baselines.get(metric)}
    if run.record.success:
        row["solved_at_step"] = run.record.success.get("step")
    for prefix, seen in (("", run.chosen), ("start_", run.start)):
        if seen is not None:
            curve = seen.curve
            row |= {f"{prefix}{key}": value for key, value in _decay_cells(seen).items()}
            row |= {
                f"{prefix}step": curve.step,
                f"{prefix}samples": curve.samples,
                f"{prefix}state": curve.state,
                f"{prefix}layer": "all" if curve.layer is None else curve.layer,
            }
    for name, seen in run.beside.items():
        row |= {f"{name} far_ratio": seen.decay.far_ratio, f"{name} verdict": seen.verdict.word}
    row["clipped"] = None if run.clipping is None else run.clipping.share
    row |= {"parameters": run.record.parameters, "steps": run.record.steps, "missing": "; ".join(run.missing)}
    return row | {"left_out": None}


def _csv(rows: Sequence[Row]) -> str:
    """With every column that some row has; floats with all their digits, nothing for what is not there."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writerow({name: csv_cell(name) for name in names})
    writer.writerows([{name: csv_cell(value) for name, value in row.items()} for row in rows])
    return file.getvalue()
