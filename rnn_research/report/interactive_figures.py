"""Empty axes for one run, over the range of all runs: the page's script puts the run that is opened in them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rnn_research.compare import Comparison
from rnn_research.compare.page_data import PageData
from rnn_research.compare.reading import split_metric
from rnn_research.report import decades, style

SHADES = 64


@dataclass(frozen=True)
class EmptyAxes:
    """An SVG for the page with one pair of axes, and where they lie (see `style.placed`)."""

    svg: str
    panel: dict[str, Any]


def empty(comparison: Comparison, data: PageData) -> dict[str, EmptyAxes]:
    """The axes of a learning curve of each metric, by its number, and of a heat map of norms, where some run has one.
    To be called inside `style.styled`."""
    found = {f"run-learning-{k}": _learning(comparison, name, k) for k, name in enumerate(comparison.metric_names)}
    found["run-heat"] = _heat(data)
    return {name: made for name, made in found.items() if made is not None}


def shades() -> list[str]:
    """The colours of the heat map, from the lowest to the highest."""
    ramp = mpl.colormaps["cividis"].resampled(SHADES)
    return [to_hex(ramp(index)) for index in range(SHADES)]


def _learning(comparison: Comparison, metric: str, number: int) -> EmptyAxes | None:
    runs = (run for run in comparison.runs if run.metric == metric)
    known = [run.learning for run in runs if run.learning is not None and len(run.learning.x)]
    values = np.concatenate([one.y for one in known]) if known else np.array([])
    values = values[np.isfinite(style.drawn(values))]
    if not len(values):
        return None
    figure = Figure(figsize=(4.6, 2.5), layout="constrained")
    axes = figure.subplots()
    end = max(float(one.x[-1]) for one in known)
    pad = 0.06 * float(np.ptp(values)) or 0.1
    axes.set(xlim=(0, max(end, 1.0)), ylim=(values.min() - pad, values.max() + pad))
    name = split_metric(metric)[1].replace("_", " ")
    axes.set(xlabel="optimiser step", ylabel=f"validation {name}", title="Learning curve")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    return _made(figure, f"run-learning-{number}", "Learning curve of the run", {})


def _heat(data: PageData) -> EmptyAxes | None:
    known = [one for one in data.details.values() if np.isfinite(one.norm).any()]
    if not known:
        return None
    values = np.concatenate([one.norm[np.isfinite(one.norm)] for one in known])
    low, high = float(values.min()), float(values.max())
    low = max(low, np.log10(decades.DEEPEST))
    high = max(min(high, np.log10(decades.HIGHEST)), low + 0.1)
    figure = Figure(figsize=(4.6, 2.5), layout="constrained")
    axes, bar = figure.subplots(1, 2, width_ratios=(20, 1))
    last = max(float(one.distance[-1]) for one in known)
    steps = sorted({int(step) for one in known for step in one.step})
    axes.set(xlim=(-0.5, last + 0.5), ylim=(-0.5, len(steps) - 0.5))
    shown = [index for index in range(len(steps)) if index % max(1, -(-len(steps) // 6)) == 0]
    axes.set_yticks(shown, [f"{steps[index]:,}" for index in shown])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    axes.set(xlabel="distance d (applications)", ylabel="optimiser step", title="Norm of the adjoint")
    axes.grid(visible=False)
    _bar(bar, low, high)
    return _made(figure, "run-heat", "Norm of the adjoint of the run", {"clim": [low, high], "steps": steps})


def _bar(axes: Axes, low: float, high: float) -> None:
    """Which colour is which norm: as shapes, since a page's policy may have no pictures."""
    ends, colours = np.linspace(low, high, SHADES + 1), shades()
    boxes = [[(0, below), (0, above), (1, above), (1, below)] for below, above in pairwise(ends)]
    axes.add_collection(PolyCollection(boxes, facecolors=colours, edgecolors=colours, linewidths=0.3), autolim=False)
    axes.set(xlim=(0, 1), ylim=(low, high), xticks=[])
    axes.yaxis.tick_right()
    axes.grid(visible=False)
    decades.in_decades(axes.yaxis)


def _made(figure: Figure, name: str, title: str, more: dict[str, Any]) -> EmptyAxes:
    drawn = style.inline(style.svg(figure), name, title)
    return EmptyAxes(drawn, style.placed(figure, figure.axes[0]) | more)
