"""The figures of success: the share of runs solved against the budget, and where the answers are right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rnn_research.compare import Bins, Comparison, Condition
from rnn_research.report import columns, style
from rnn_research.report.legends import Made, band_says, crowded, legend, panels, seeds_say
from rnn_research.report.looks import Look
from rnn_research.statistics.intervals import SEEDS

WIDE = 3
"""Panels a row."""


def success(comparison: Comparison, look: Look) -> Made | None:
    """The share of runs that had solved the task by each step."""
    shown = [c for c in comparison.conditions if c.success is not None]
    if not shown:
        return None
    rows = panels(shown, look)
    figure, grid = _grid(len(rows))
    for axes, (name, members) in zip(grid, rows, strict=True):
        end = max(c.success.step[-1] for c in members if c.success)
        for condition in members:
            _share(axes, condition, look, end, crowded(shown, look))
        axes.set_title(name)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("optimiser step")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    grid[0].set_ylabel("share of runs solved")
    legend(figure, comparison, look)
    caption = (
        f"The share of runs that had reached {columns.rules(comparison)} by each step (Kaplan and Meier's estimate). "
        "A tick marks a run that ended unsolved; a run that diverged counts as unsolved for good. "
        f"{_band_of_runs(shown, look)} {_runs_say(shown)}"
    )
    return Made("success", "Success against budget", caption, figure, tuple((axes, "success") for axes in grid))


def answers(comparison: Comparison, look: Look) -> Made | None:
    """The answers by each feature that varies, a panel a feature."""
    features = [name for name in comparison.bins if any(name in c.answers for c in comparison.conditions)]
    if not features:
        return None
    figure, grid = _grid(len(features))
    for axes, feature in zip(grid, features, strict=True):
        shown = [c for c in comparison.conditions if feature in c.answers]
        for place, condition in enumerate(shown):
            _by_bin(axes, condition, feature, comparison, look, (place - (len(shown) - 1) / 2) / (2 * len(shown)))
        _bin_axis(axes, comparison.bins[feature], feature)
        if comparison.measure == "accuracy":
            axes.set_ylim(-0.03, 1.03)
        if axes in grid[::WIDE]:
            axes.set_ylabel(comparison.measure)
    legend(figure, comparison, look)
    caption = (
        f"The {comparison.measure} of the answers on the test set and every further set, by what is known of a sample: "
        f"mean over seeds, at the middle of each bin. {band_says(comparison.conditions, look)} "
        f"{seeds_say([c for c in comparison.conditions if c.answers], _answered)}"
    )
    return Made("answers", "Where the answers are right", caption, figure)


def _band_of_runs(shown: Sequence[Condition], look: Look) -> str:
    """What a caption says of the bands of shares."""
    if crowded(shown, look):
        return "Intervals are left out: there are too many conditions to see them."
    if not any(c.success and np.isfinite(c.success.low).any() for c in shown):
        return f"Fewer than {SEEDS} runs give no interval."
    return "Band: 95% interval at each step, for itself (Fay, Brittain and Proschan's beta product)."


def _runs_say(shown: Sequence[Condition]) -> str:
    """`n = 3 runs a condition.`"""
    counts = sorted({c.success.runs for c in shown if c.success})
    said = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"n = {said} {'run' if counts == [1] else 'runs'} a condition."


def _answered(condition: Condition) -> int:
    """Of how many seeds its answers are."""
    return max((mean.n for found in condition.answers.values() for mean in found.mean if mean), default=0)


def _grid(count: int) -> tuple[Figure, Sequence[Axes]]:
    """So many panels, the surplus of the last row left empty."""
    wide = min(count, WIDE)
    high = -(-count // wide)
    figure = Figure(figsize=(7.6, 0.5 + 2.6 * high), layout="constrained")
    grid = list(figure.subplots(high, wide, squeeze=False).flat)
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, grid[:count]


def _share(axes: Axes, condition: Condition, look: Look, end: float, crowd: bool) -> None:
    """The curve with its band, which is left out in a crowd; where all runs solved the task, as far as the others
    go."""
    found = condition.success
    assert found is not None
    lines = found.step, found.share, found.low, found.high
    if found.solved == found.runs:
        lines = np.append(found.step, end), *(np.append(line, line[-1]) for line in lines[1:])
    x, share, low, high = lines
    axes.step(x, share, where="post", **look.stroke(condition))
    if np.isfinite(low).any() and not crowd:
        shade = {"color": look.colour(condition), "alpha": 0.13, "linewidth": 0, "gid": look.gid(condition)}
        axes.fill_between(x, low, high, step="post", **shade)
    ends = sorted(set(found.censored))
    heights = [found.share_at(end) for end in ends]
    axes.plot(
        ends, heights, linestyle="", marker="|", markersize=7, color=look.colour(condition), gid=look.gid(condition)
    )


def _by_bin(axes: Axes, condition: Condition, feature: str, comparison: Comparison, look: Look, aside: float) -> None:
    """A line with its band; where the bins are names, points with their intervals, side by side."""
    found, stroke = condition.answers[feature], look.stroke(condition)
    means = found.mean
    there = [index for index, mean in enumerate(means) if mean is not None]
    x = _middles(found.bins)[there] + (aside if found.bins.named else 0.0)
    kept = [mean for mean in means if mean is not None]
    joined = {**stroke, "linestyle": "" if found.bins.named else stroke["linestyle"]}
    axes.plot(x, style.drawn([mean.mean for mean in kept]), marker=look.marker(condition), markersize=3.6, **joined)
    low, high = style.drawn([mean.low for mean in kept]), style.drawn([mean.high for mean in kept])
    if crowded(comparison.conditions, look):
        return
    if np.isfinite(low).any() and not found.bins.named:
        axes.fill_between(x, low, high, color=stroke["color"], alpha=0.13, linewidth=0, gid=stroke["gid"])
    elif np.isfinite(low).any():
        axes.vlines(x, low, high, color=stroke["color"], alpha=0.4, gid=stroke["gid"])


def _middles(among: Bins) -> np.ndarray:
    """Where a bin is drawn: in the middle of its values, or where they are names side by side."""
    if among.named:
        return np.arange(len(among.low), dtype=np.float64)
    return style.drawn(among.low.astype(np.float64) / 2 + among.high.astype(np.float64) / 2)


def _bin_axis(axes: Axes, among: Bins, feature: str) -> None:
    axes.set_xlabel(feature.replace("_", " "))
    if among.named:
        names = [style.shortened(label, 14) for label in among.labels]
        axes.set_xticks(_middles(among), names, rotation=30, ha="right")
    elif among.low.dtype.kind in "biu":
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
