"""What the figures of the optional tables draw, as the page's script and its CSV files have it. Computes no number."""

from __future__ import annotations

from typing import Any

from rnn_research.compare import Condition
from rnn_research.compare.page_data import PageData
from rnn_research.report.rounded import numbers
from rnn_research.statistics.intervals import Band

Block = dict[str, Any]


def series(place: int, condition: Condition, data: PageData, name: str) -> list[Block]:
    """The numbers that the figure `name` draws of a condition, the `place`-th."""
    makers = {"norm_map": _norms, "saturation": _saturation, "foreseen": _foreseen, "confusion": _confusion}
    return [{"c": place, **one} for one in makers[name](place, condition, data)]


def _norms(place: int, condition: Condition, data: PageData) -> list[Block]:
    return [
        {"columns": {"distance": band.x.tolist(), "log10_norm": numbers(band.mean)}, "at": f"step {step}"}
        for step, band in data.norms[place].items()
    ]


def _saturation(place: int, condition: Condition, data: PageData) -> list[Block]:
    return [
        {"columns": {"step": band.x.tolist(), **_ends("value", band)}, "at": name, "n": band.n, "panel": name}
        for name, band in condition.saturation.items()
    ]


def _foreseen(place: int, condition: Condition, data: PageData) -> list[Block]:
    return [
        {
            "columns": {
                "step": found.cosine.x.tolist(),
                **_ends("log_norm_ratio", found.log_size),
                **_ends("cosine", found.cosine),
            },
            "at": name,
            "n": found.cosine.n,
        }
        for name, found in condition.foreseen.items()
    ]


def _confusion(place: int, condition: Condition, data: PageData) -> list[Block]:
    if condition.confusion is None:
        return []
    return [
        {"columns": {"predicted": list(condition.confusion.classes), "samples": row.tolist()}, "at": f"true {name}"}
        for name, row in zip(condition.confusion.classes, condition.confusion.count, strict=True)
    ]


def _ends(name: str, band: Band) -> dict[str, list[float | None]]:
    return {name: numbers(band.mean), f"{name}_low": numbers(band.low), f"{name}_high": numbers(band.high)}
