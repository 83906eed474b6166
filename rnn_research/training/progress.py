"""The bar that shows how far a run is."""

from __future__ import annotations

import math
import sys
from typing import Any

from lightning.pytorch import Trainer
from tqdm import tqdm

from rnn_research.records.bar_width import bar_width
from rnn_research.records.runs import RunRecord


class Bar:
    """Steps done and the time left, on stderr; nothing where it is not `wanted`."""

    def __init__(self, record: RunRecord, wanted: bool) -> None:
        self.label, self.wanted = _label(record), wanted
        self.bar: tqdm[Any] | None = None

    def open(self, trainer: Trainer) -> None:
        """Show it, at the trainer's step."""
        if self.wanted and sys.stderr is not None:
            total = trainer.estimated_stepping_batches
            self.bar = tqdm(
                total=None if math.isinf(total) else int(total),
                initial=trainer.global_step,
                desc=self.label,
                unit="step",
                mininterval=0.2 if sys.stderr.isatty() else 60,
                maxinterval=1 if sys.stderr.isatty() else 120,
                **bar_width(),
            )

    def update(self) -> None:
        """One more step is done."""
        if self.bar is not None:
            self.bar.update(1)

    def close(self) -> None:
        """Leave it as it is."""
        if self.bar is not None:
            self.bar.close()


def _label(record: RunRecord) -> str:
    """Short: the run's name may be long."""
    choices = record.choices
    named = [choices[key] for key in ("model", "dataset", "clipping") if key in choices]
    return "-".join([*named, f"seed{record.seed}"]) if named else record.name
