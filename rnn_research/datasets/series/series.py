"""Series of numbers of one's own: CSV or npy a sample, one long table, or files of the UEA archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rnn_research.checks import choice, word
from rnn_research.datasets.encoder import Encoder
from rnn_research.datasets.own.module import OwnData, RawSamples
from rnn_research.datasets.series.encoder import LARGEST, SCALES, SeriesEncoder
from rnn_research.datasets.series.gaps import POLICIES, REPAIR, first_gap, without_gaps
from rnn_research.datasets.series.reading import FORMATS, ReadSeries, read_series
from rnn_research.datasets.task import Task
from rnn_research.structures import Sample


class SeriesFiles(OwnData):
    """Series of equally many columns and of any lengths, each with a class.

    Every column is brought to mean 0 and standard deviation 1 over the steps of the training part.

    Args:
        format, label_column, id_column, time_column, group_column, split_column, group_pattern: see
            `reading.read_series`. Where there are groups (the subjects of an experiment), no group is in two splits.
        missing: what becomes of steps with NaN or infinite values: `refuse`, `drop` the step, `interpolate`.
        scale: `standard`, or `none`: the numbers as they are.

    Raises:
        ValueError: as `OwnData`.
    """

    def __init__(
        self,
        path: str | None = None,
        format: str = "auto",
        label_column: str | None = None,
        id_column: str | None = None,
        time_column: str | None = None,
        group_column: str | None = None,
        split_column: str | None = None,
        group_pattern: str | None = None,
        missing: str = "refuse",
        scale: str = "standard",
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        class_weights: str = "none",
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = False,
    ) -> None:
        super().__init__(path, val_fraction, test_fraction, split_seed, class_weights, batch_size, num_workers, bucket)
        self.reading = {
            "format": choice("format", format, FORMATS),
            "label_column": word("label_column", label_column),
            "id_column": word("id_column", id_column),
            "time_column": word("time_column", time_column),
            "group_column": word("group_column", group_column),
            "split_column": word("split_column", split_column),
            "group_pattern": word("group_pattern", group_pattern),
        }
        self.missing = choice("missing", missing, POLICIES)
        self.scale = choice("scale", scale, SCALES)

    def found(self) -> ReadSeries:
        """The series as the files have them."""
        return read_series(self.located(), **self.reading)  # type: ignore[arg-type]

    def read(self) -> RawSamples:
        read = self.found()
        if read.series and not read.labels:
            raise ValueError(f"path: {self.path} has no column that says the class; set dataset.label_column")
        self.columns = read.columns
        return self._cleaned(read)

    def _cleaned(self, read: ReadSeries) -> RawSamples:
        """The series without missing values; those of which nothing is left are dropped, and counted."""
        kept, clean = [], []
        for number, values in enumerate(read.series):
            if values.shape[1] != read.series[0].shape[1]:
                raise ValueError(
                    f"path: {read.where(number)}: found {values.shape[1]} columns, expected {read.series[0].shape[1]} "
                    f"as in {read.where(0)}"
                )
            gap = first_gap(values) if self.missing == "refuse" else None
            if gap is not None:
                raise ValueError(f"path: {read.gap(number, *gap)}, {REPAIR}")
            if (large := np.argwhere(np.isfinite(values) & (np.abs(values) > LARGEST))).size:
                step, column = large[0].tolist()
                raise ValueError(f"path: {read.gap(number, step, column)}, expected at most {LARGEST:g}; mend it")
            try:
                whole, gaps = without_gaps(values, self.missing)
            except ValueError:
                self.report.drop("without a finite step" if self.missing == "drop" else "with a column of gaps alone")
                continue
            if gaps:
                self._gaps += gaps
            kept.append(number)
            clean.append(whole)
        if self._gaps:
            done = "left out" if self.missing == "drop" else "interpolated"
            self.report.notes.append(f"{self._gaps} steps with missing values were {done}")
        return RawSamples(
            clean,
            [read.labels[number] for number in kept],
            [(one.shape, one.tobytes()) for one in clean],
            lambda number: read.where(kept[number]),
            [read.given[number] for number in kept] if any(read.given) else None,
            [read.groups[number] for number in kept] if read.groups else None,
        )

    _gaps = 0
    columns: tuple[str, ...] = ()
    """The names of the columns that were read, where the files have names."""

    def make_encoder(self, items: Sequence[Any], labels: Sequence[str], classes: tuple[str, ...]) -> Encoder:
        reading = {**self.reading, "columns": list(self.columns)}
        return SeriesEncoder.fitted(items, self.scale, missing=self.missing, classes=classes, reading=reading)

    def make_task(self, sets: Mapping[str, Sequence[Sample]], shared: Mapping[str, Any]) -> Task:
        return Task(input_size=int(np.shape(sets["train"][0].inputs)[1]), **shared)
