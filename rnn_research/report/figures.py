"""The figures of a comparison. Draws what it is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from rnn_research.compare import Comparison, Condition
from rnn_research.curves import FALL, RISE, Band
from rnn_research.report import cells, norms, style
from rnn_research.report.style import INK, MUTED, Look

DOTS = (0, (1, 2))
SHORT_DASHES = (0, (3, 2))


Made = tuple[str, str, str, Figure] | None


@dataclass(frozen=True)
class Drawing:
    """A figure as files, with what it shows in words."""

    name: str
    title: str
    caption: str
    svg: str
    png: bytes


def draw(comparison: Comparison) -> list[Drawing]:
    """Every figure that has something to show."""
    with style.styled():
        look = style.look(comparison)
        figures = (make(comparison, look) for make in (vanishing, rates, norms.clipping, learning))
        return [
            Drawing(name, title, caption, style.svg(figure), style.png(figure))
            for name, title, caption, figure in filter(None, figures)
        ]


def vanishing(comparison: Comparison, look: Look) -> Made:
    """The vanishing curves at the chosen step, beside those at the first, and in trees the sum over nodes."""
    shown = [c for c in comparison.conditions if c.chosen is not None]
    if not shown:
        return None
    trees = any(c.chosen and c.chosen.depth_sum for c in shown)
    panels = _panels(shown, look)
    columns = 3 if trees else 2
    figure = Figure(figsize=(7.6, 0.5 + 3.2 * len(panels)), layout="constrained")
    ratios = (1.9, *[1.0] * (columns - 1))
    grid = figure.subplots(len(panels), columns, squeeze=False, sharey="row", width_ratios=ratios)
    for row, (name, members) in zip(grid, panels, strict=True):
        _vanishing_row(row, name, members, look, comparison)
    dotted = Line2D([], [], color=MUTED, linewidth=0.9, linestyle=DOTS, label="thresholds")
    _legend(figure, comparison, look, [dotted])
    caption = (
        f"The norm of the adjoint of {comparison.state} (top layer, each sample's own loss) against "
        "distance, as a ratio to that at the smallest: geometric mean over the probed samples, then over "
        f"seeds. {_band_says(shown)} A triangle marks where the typical norm becomes exactly zero. Dotted: "
        f"{FALL:g} and {RISE:g}, the thresholds of the verdict."
    )
    if trees:
        caption += " On the right the norms of all nodes at a depth are summed: nodes grow in number with depth."
    return "vanishing", "How far back the gradient reaches", caption, figure


def rates(comparison: Comparison, look: Look) -> Made:
    """The decay rate over training."""
    shown = [c for c in comparison.conditions if c.rates is not None]
    if not any(len(c.rates.x) > 1 for c in shown if c.rates):
        return None
    panels = _panels(shown, look)
    figure, grid = _grid(len(panels))
    for axes, (name, members) in zip(grid, panels, strict=False):
        axes.axhline(0, color=MUTED, linewidth=0.8)
        for condition in members:
            _line(axes, condition.rates, look.stroke(condition))
        axes.set_title(name)
        axes.set_xlabel("optimiser step")
        axes.set_ylabel("decay rate (nats per cell application)")
        _to_means(axes, [c.rates for c in members], (0.0,))
    _legend(figure, comparison, look)
    caption = (
        "The decay rate b of log n = a + b d at each recorded step: 0 keeps the norm, below 0 it vanishes, "
        f"above it explodes. Mean over seeds. {_band_says(shown)}"
    )
    return "rates", "The decay rate over training", caption, figure


def learning(comparison: Comparison, look: Look) -> Made:
    """The validation metric over training, with what a predictor without memory reaches."""
    shown = [c for c in comparison.conditions if c.learning is not None]
    if not shown or comparison.metric is None:
        return None
    panels = _panels(shown, look)
    figure, grid = _grid(len(panels))
    name_of_metric = comparison.metric.partition("_")[2].replace("_", " ")
    for axes, (name, members) in zip(grid, panels, strict=False):
        for baseline in dict.fromkeys(c.baseline for c in members if c.baseline is not None):
            axes.axhline(baseline, color=MUTED, linewidth=1, linestyle=SHORT_DASHES)
        for condition in members:
            _line(axes, condition.learning, look.stroke(condition))
        axes.set_title(name)
        axes.set_xlabel("optimiser step")
        axes.set_ylabel(f"validation {name_of_metric}")
        _to_means(axes, [c.learning for c in members], [c.baseline for c in members if c.baseline is not None])
    baseline = Line2D([], [], color=MUTED, linewidth=1, linestyle=SHORT_DASHES, label="baseline without memory")
    _legend(figure, comparison, look, [baseline] if any(c.baseline is not None for c in shown) else [])
    caption = (
        f"{name_of_metric.capitalize()} on the validation data against the optimiser step: mean over the "
        f"seeds that did not diverge. {_band_says(shown)}"
    )
    return "learning", "The task", caption, figure


def _vanishing_row(
    row: np.ndarray, name: str, members: Sequence[Condition], look: Look, comparison: Comparison
) -> None:
    """At the chosen step, at the first, and in trees summed over the nodes at a depth."""
    trees = any(c.chosen and c.chosen.depth_sum for c in members)
    views: list[tuple[str, Callable[[Condition], Band | None]]] = [
        (f"at {cells.step_title(comparison)}", lambda c: c.chosen and c.chosen.curve),
        (f"at {cells.start_title(comparison)}", lambda c: c.start and c.start.curve),
        ("summed over nodes", lambda c: c.chosen and c.chosen.depth_sum),
    ]
    drawn: list[np.ndarray] = [np.array([-2.3, 0.3])]
    for axes, (title, view) in zip(row, views, strict=False):
        bands = [(c, band) for c in members if (band := view(c)) is not None]
        if not bands:
            axes.set_axis_off()
            continue
        drawn += [_curve(axes, band, look.stroke(c)) for c, band in bands]
        for threshold in (FALL, RISE):
            axes.axhline(np.log10(threshold), color=MUTED, linewidth=0.9, linestyle=DOTS)
        axes.set_title(f"{name}\n{title}" if name and axes is row[0] else title)
        axes.set_xlabel("tree depth" if trees else "distance d")
    row[0].set_ylim(*style.limits(np.concatenate(drawn), margin=0.15))
    row[0].set_ylabel("gradient norm, relative to d = 0")
    row[0].set_xlabel(f"{'tree depth' if trees else 'distance'} d (cell applications {_from(trees)})")


def _curve(axes: Axes, band: Band, stroke: dict[str, Any]) -> np.ndarray:
    """Draw a vanishing curve in decades (log10), with a triangle where it ends in exact zeros; returns
    them."""
    mean, low, high = (values / np.log(10) for values in (band.mean, band.low, band.high))
    _line(axes, Band(band.x, mean, low, high, band.n), stroke)
    gone = np.flatnonzero(np.isneginf(mean))
    if len(gone) and gone[0] > 0:
        last = max(mean[gone[0] - 1], np.log10(style.DEEPEST))
        axes.plot(band.x[gone[0] - 1], last, marker="v", markersize=6, color=stroke["color"], clip_on=False)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(style.power_of_ten))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    return mean


def _line(axes: Axes, band: Band | None, stroke: dict[str, Any]) -> None:
    """A mean with its interval."""
    if band is None:
        return
    mean = np.where(np.isfinite(band.mean), band.mean, np.nan)
    axes.plot(band.x, mean, marker="o" if len(band.x) <= 10 else "", markersize=3.2, **stroke)
    wide = np.isfinite(band.low) & np.isfinite(band.high)
    if wide.any():
        shade = {"color": stroke["color"], "alpha": 0.12, "linewidth": 0}
        axes.fill_between(band.x, band.low, band.high, where=wide, **shade)
    axes.margins(x=0.02)


def _to_means(axes: Axes, bands: Sequence[Band | None], others: Sequence[float]) -> None:
    """An axis for the means: with few seeds the intervals can be much wider than all that is to be seen."""
    values = np.concatenate([np.asarray(others), *(band.mean for band in bands if band is not None)])
    values = values[np.isfinite(values)]
    if len(values):
        pad = 0.2 * (values.max() - values.min()) or 0.1
        axes.set_ylim(values.min() - pad, values.max() + pad)


def _grid(count: int) -> tuple[Figure, np.ndarray]:
    """`count` panels side by side, two a row."""
    columns = min(count, 2)
    rows = -(-count // columns)
    figure = Figure(figsize=(7.6, 0.4 + 2.9 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, grid


def _panels(conditions: Sequence[Condition], look: Look) -> list[tuple[str, list[Condition]]]:
    names = dict.fromkeys(map(look.panel, conditions))
    return [(style.shortened(name), [c for c in conditions if look.panel(c) == name]) for name in names]


def _legend(figure: Figure, comparison: Comparison, look: Look, more: Sequence[Line2D] = ()) -> None:
    """Colours and dashes apart where they tell different factors."""
    handles = [
        Line2D([], [], color=colour, label=style.shortened(name)) for name, colour in look.colours.items() if name
    ]
    if len(look.dashes) > 1:
        handles += [
            Line2D(
                [],
                [],
                color=INK,
                **look.pen(dash),
                label=style.shortened(f"{style.called(look.dash_factors, comparison)}: {name}"),
            )
            for name, dash in look.dashes.items()
        ]
    handles += more
    if handles:
        width = sum(len(str(handle.get_label())) + 7 for handle in handles)
        columns = -(-len(handles) // min(-(-width // 105), len(handles)))
        rowwise = [handle for column in range(columns) for handle in handles[column::columns]]
        figure.legend(handles=rowwise, loc="outside upper left", ncols=columns, handlelength=2.4)


def _from(trees: bool) -> str:
    return "from the root" if trees else "to the loss"


def _band_says(conditions: Sequence[Condition]) -> str:
    return "Band: 95% interval over seeds (Student's t)." if any(len(c.runs) > 1 for c in conditions) else ""
