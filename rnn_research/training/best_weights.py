"""The best weights of a run so far, by a metric of the validation set: kept beside the checkpoint of the last ones."""

from __future__ import annotations

import logging
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from rnn_research.models.model import Model
from rnn_research.records import checksum, runs
from rnn_research.training.checkpoint_file import read_checkpoint
from rnn_research.training.live_record import LiveRecord
from rnn_research.training.position import PositionTracker
from rnn_research.training.resume import PLACE, ResumedRun
from rnn_research.training.watched import BestValue

log = logging.getLogger(__name__)

OF_TRAINING = ("clipping.", "regularizers.", "tallies.")
"""Parts of a model that no answer depends on."""


class BestWeights(Callback):
    """Keeps, at each validation, the weights that are the best so far: in `best.ckpt`, and named in the record.

    The file is sealed and replaced in one step. It holds tensors and plain values alone: `state_dict`, without what
    acts on training, and under `PLACE` the step, the epoch, the metric and its value.

    Args:
        live: the run's record.
        position: where training stands.
        metric: by which weights are better; None: none are kept.
        earlier: the run whose checkpoint training goes on from.
    """

    def __init__(
        self, live: LiveRecord, position: PositionTracker, metric: str | None, earlier: ResumedRun | None = None
    ) -> None:
        self.live, self.position = live, position
        self.looking = metric is not None
        """False once weights are measured that were looked at before."""
        self.late = False
        """Whether a validation is made up for, which was due while training."""
        self.best = BestValue(metric or "")
        self.kept: dict[str, Any] = {}
        """The step, epoch, metric and value."""
        self._weights: dict[str, Tensor] = {}
        before = None if earlier is None else earlier.best_weights
        if before is not None and self.looking and self.best.go_on(before["best"]):
            self.kept, self._weights = before["kept"], before["weights"]
        elif earlier is not None and self.looking and earlier.place.step:
            log.warning("keep_best=%s: none were kept by it before step %d", metric, earlier.place.step)

    def begin(self) -> None:
        """Leave what an earlier run has kept in this run's folder too. Before training."""
        if self._weights:
            self._write()

    def on_validation_end(self, trainer: Trainer, pl_module: Model) -> None:  # type: ignore[override]
        """After the validation's row is in the record."""
        value = self.live.record.final.get(f"val_{self.best.metric}")
        if not self.looking or value is None or not self.best.look(value):
            return
        place, fitting = self.position.place, trainer.state.fn == TrainerFn.FITTING or self.late
        epoch = place.epoch if fitting and place is not None else self.position.epoch(trainer)
        self.kept = {"step": trainer.global_step, "epoch": epoch, "metric": self.best.metric, "value": value}
        state = pl_module.state_dict()
        names = [name for name in state if not name.startswith(OF_TRAINING)]
        self._weights = {name: state[name].detach().to("cpu", copy=True) for name in names}
        self._write()

    def state(self) -> dict[str, Any] | None:
        """What the checkpoint of the last weights keeps of the best: they may have been replaced when it is read."""
        return {"best": self.best.state(), "kept": self.kept, "weights": self._weights} if self._weights else None

    def restore(self, trainer: Trainer, model: Model) -> bool:
        """Load the best weights from their file, where they are not the last ones. Returns whether they were loaded."""
        if not self.kept or self.kept["step"] == trainer.global_step:
            return False
        held = read_checkpoint(self.live.folder / runs.BEST, model.device)
        model.load_state_dict(held["state_dict"], strict=False)
        return True

    def _write(self) -> None:
        content = {"state_dict": self._weights, PLACE: self.kept}
        checksum.write_sealed(self.live.folder / runs.BEST, lambda path: torch.save(content, path))
        self.live.change(weights={**self.live.record.weights, "best": {"file": runs.BEST, **self.kept}})
