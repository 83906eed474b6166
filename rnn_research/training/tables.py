"""The tables of a run: what probes, clipping and regularizers have measured."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from lightning.pytorch import Callback, Trainer

from rnn_research.models.model import Model
from rnn_research.probes.base import Probe
from rnn_research.probes.clipping import clipping_table
from rnn_research.probes.regularizer import regularizer_table
from rnn_research.records import runs
from rnn_research.records.stacked import stacked, structured
from rnn_research.sweeps import heart
from rnn_research.training.live_record import LiveRecord
from rnn_research.training.position import PositionTracker
from rnn_research.training.resume import ResumedRun

log = logging.getLogger(__name__)


class TableWriter(Callback):
    """Writes the tables now and then; the run itself writes them at its end.

    Args:
        live: the run's record.
        position: where training stands.
        probes: by the name under which each is stored.
        earlier: the run whose checkpoint training goes on from.
    """

    FLUSH_EVERY = 10.0  # seconds between writes of the probes' tables: a killed run loses at most that much,
    FLUSH_SHARE = 20  # or this many times what a write takes, where that is longer: tables grow

    def __init__(
        self,
        live: LiveRecord,
        position: PositionTracker,
        probes: Mapping[str, Probe],
        earlier: ResumedRun | None = None,
    ) -> None:
        self.live, self.position, self.probes, self.earlier = live, position, probes, earlier
        self._before = earlier.tables((*probes, *runs.OWN_TABLES[:2])) if earlier else {}
        self._flush_at = time.monotonic() + self.FLUSH_EVERY

    def on_train_start(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        earlier = self.earlier
        if earlier is not None and len(self._before.get("clipping", ())) != earlier.place.step:
            log.warning("%s was killed: its tables lack the last steps before its checkpoint", earlier.folder)
        if earlier is not None and not earlier.own:
            self._forget_last(earlier.place.step - 1)

    def _forget_last(self, step: int) -> None:
        """Drop what the earlier run measured since the step was its last: a run of more steps has other last ones."""
        for name, probe in self.probes.items():
            rows = self._before.get(name)
            if rows is not None and not probe.due(step):
                self._before[name] = rows[rows["step"] != step]

    def on_train_batch_end(self, trainer: Trainer, pl_module: Model, *rest: Any) -> None:  # type: ignore[override]
        if self.position.stepped and time.monotonic() > self._flush_at:
            self.write(pl_module)

    def write(self, model: Model) -> dict[str, int]:
        """Write all tables as they are, and return how many rows each has of the steps that are done."""
        heart.confirm(self.live.folder)
        start, rows = time.monotonic(), dict[str, int]()
        tables = {name: probe.table() for name, probe in self.probes.items()} | {"clipping": clipping_table(model)}
        if model.regularizers:
            tables["regularizer"] = regularizer_table(model)
        for name, table in tables.items():
            joined = self._joined(name, table)
            runs.write_table(self.live.folder, name, joined)
            rows[name] = int((joined["step"] < self.position.step).sum())
        end = time.monotonic()
        self._flush_at = end + max(self.FLUSH_EVERY, self.FLUSH_SHARE * (end - start))
        return rows

    def _joined(self, name: str, table: np.ndarray) -> np.ndarray:
        """With the rows of the run that this one goes on from, where these columns can tell what they lack."""
        before = self._before.get(name)
        if before is None or not len(table):
            return table if before is None else before
        if before.dtype == table.dtype:
            return np.concatenate([before, table])
        try:
            return structured(stacked([{key: one[key] for key in one.dtype.names or ()} for one in (before, table)]))
        except ValueError:
            log.warning("%s: other columns than before; the rows of the earlier run are left in its own folder", name)
            del self._before[name]
            return table
