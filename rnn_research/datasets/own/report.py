"""What was read of a user's files: for the log, and for the record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rnn_research.structures import Sample

MANY = 60
"""Classes that a record lists one by one; of more their number is kept."""


@dataclass
class ReadingReport:
    """Counts, lengths and classes of each split; what was dropped, and why; what else a user must know.

    Attributes:
        dropped: how many samples, by the reason.
        notes: sentences.
    """

    dropped: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    samples: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, list[float]] = field(default_factory=dict)
    classes: dict[str, dict[str, int]] = field(default_factory=dict)

    def drop(self, reason: str, count: int = 1) -> None:
        """Count samples that are left out."""
        if count:
            self.dropped[reason] = self.dropped.get(reason, 0) + count

    def left_out(self) -> str:
        """What was dropped, as a message goes on about data that are too few; "" where nothing was."""
        said = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items())
        return f" after samples were left out ({said})" if said else ""

    def count(self, sets: Mapping[str, Sequence[Sample]], classes: Sequence[str] | None = None) -> None:
        """Count what is in each split: samples, their shortest, median and longest length, and labels by class."""
        for name, samples in sets.items():
            lengths = [len(sample.inputs) for sample in samples]
            self.samples[name] = len(samples)
            self.lengths[name] = [float(f(lengths)) for f in (np.min, np.median, np.max)] if lengths else []
            if classes is not None and len(classes) <= MANY:
                found = Counter(int(sample.target) for sample in samples)
                self.classes[name] = {one: found[number] for number, one in enumerate(classes)}

    def plain(self) -> dict[str, Any]:
        """All of it in types that JSON has; without what is empty."""
        return {key: value for key, value in vars(self).items() if value}

    def lines(self) -> list[str]:
        """What a log says of it, a fact a line."""
        said = []
        for name, count in self.samples.items():
            least, median, most = self.lengths.get(name) or (0, 0, 0)
            said.append(f"{name}: {count} samples of {least:g} to {most:g} steps, {median:g} in the median")
        for name, found in self.classes.items():
            said.append(f"{name}: " + ", ".join(f"{label} {count}" for label, count in found.items()))
        said += [f"left out: {count} {reason}" for reason, count in self.dropped.items()]
        return said + self.notes
