"""From series of numbers to samples: the same scale for every one, from the training part alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from rnn_research.datasets.encoder import Encoder, Item
from rnn_research.datasets.kept_types import check_arguments
from rnn_research.datasets.own.archives import published_files
from rnn_research.datasets.series.gaps import POLICIES, without_gaps
from rnn_research.datasets.series.reading import ReadSeries, read_series
from rnn_research.structures import Sample

SCALES = ("standard", "none")
LARGEST = 1e150
"""Of a value, whose square has a float."""


@dataclass(frozen=True, eq=False)
class SeriesEncoder(Encoder):
    """x -> (x - mean) / std, column by column.

    Attributes:
        columns: how many numbers a step has.
        mean, std: of each column over all steps of the training part; a constant column has std 1.
        missing: what becomes of steps with missing values: see `gaps`.
        classes: their names, in order.
        reading: how files are read: the arguments of `reading.read_series`.
    """

    kind: ClassVar[str] = "series"

    columns: int
    mean: np.ndarray
    std: np.ndarray
    missing: str = "refuse"
    classes: tuple[str, ...] = ()
    reading: Mapping[str, Any] | None = None

    @classmethod
    def fitted(cls, series: Sequence[np.ndarray], scale: str, **given: Any) -> Self:
        """The encoder whose scale is that of these series; `none` leaves the numbers as they are."""
        columns = series[0].shape[1]
        mean, std = np.zeros(columns), np.ones(columns)
        if scale == "standard":
            steps = np.concatenate(series).astype(np.float64)
            with np.errstate(over="ignore", invalid="ignore"):
                mean, std = steps.mean(0), steps.std(0)
            if not np.isfinite([mean, std]).all():
                column = int(np.flatnonzero(~np.isfinite(mean + std))[0])
                most = float(np.abs(steps[:, column]).max())
                raise ValueError(f"path: column {column} has values up to {most:g}, expected less than {LARGEST:g}")
            std = np.where(std > 1e-12 * np.maximum(np.abs(mean), 1e-300), std, 1.0)
        return cls(columns, mean, std, **given)

    def plain(self) -> dict[str, Any]:
        return {
            "columns": self.columns,
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "missing": self.missing,
            "classes": list(self.classes),
            "reading": None if self.reading is None else dict(self.reading),
        }

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        try:
            mean, std = (np.asarray(plain[name], dtype=np.float64) for name in ("mean", "std"))
            columns, missing, classes = int(plain["columns"]), str(plain["missing"]), tuple(map(str, plain["classes"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"encoder: given one of series that is damaged ({error})") from None
        if mean.shape != (columns,) or std.shape != (columns,) or missing not in POLICIES or not (std > 0).all():
            raise ValueError("encoder: given one of series whose sizes or scale are wrong")
        return cls(columns, mean, std, missing, classes, plain.get("reading"))

    def encode(self, raw: Any, target: Any = 0) -> Sample:
        values = np.asarray(raw)
        if values.ndim != 2 or values.shape[1] != self.columns or not len(values):
            raise ValueError(f"found shape {values.shape}, expected (steps, {self.columns})")
        values, _ = without_gaps(values.astype(np.float64), self.missing)
        return Sample(((values - self.mean) / self.std).astype(np.float32), target)

    def items(self, path: Path) -> Iterator[Item]:
        read = _read(path, dict(self.reading or {}))
        for number, values in enumerate(read.series):
            yield Item(read.where(number), values, read.labels[number] if read.labels else None)


def _read(path: Path, reading: dict[str, Any]) -> ReadSeries:
    """The series at a path, of the format that the run's data had."""
    format = reading.get("format")
    if format == "skeleton":
        from rnn_research.datasets.series.skeleton_actions import read_recordings, wanted

        del reading["format"]
        _check(read_recordings, reading)
        return read_recordings(published_files(path, wanted, "joints_sXX_eYY.txt and actionLabel.txt"), **reading)
    read: Callable[..., ReadSeries] = read_series
    if format == "idx":
        from rnn_research.datasets.series.sequential_mnist import read_images as read

        del reading["format"]
    _check(read, reading)
    return read(path, **reading)


def _check(read: Callable[..., Any], reading: Mapping[str, Any]) -> None:
    """Raise a ValueError where how files were read, as a run keeps it, is no such thing."""
    unknown = reading.keys() - inspect.signature(read).parameters.keys()
    if unknown or "path" in reading:
        raise ValueError(f"encoder: damaged (it reads series with {', '.join(sorted(unknown)) or 'path'})")
    check_arguments(read, reading, "encoder")
