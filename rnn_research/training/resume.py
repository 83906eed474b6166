"""Train on from where an earlier run stood: what its checkpoint must hold beside the weights, and how that is read.

A checkpoint is lightning's own (weights, buffers, optimiser, loops) with one more entry, `PLACE`. Training that is
stopped there and resumed takes the same steps, bit for bit, as training that was not stopped.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.loops.progress import _BatchProgress
from torch import nn

from rnn_research.datasets.base import DataModule
from rnn_research.models.carried import CarriedParts
from rnn_research.models.model import Model
from rnn_research.records import metrics_file, runs
from rnn_research.training.checkpoint_file import Unreadable, read_checkpoint
from rnn_research.training.resumable import (
    NoCheckpoint,
    ResumeError,
    check_config,
    check_facts,
    check_limits,
    check_record,
    check_weights,
)

__all__ = ["NoCheckpoint", "ResumeError", "ResumedRun", "TrainingPosition", "check_limits", "load"]

PLACE = "rnn_research"
KEPT = (
    *("rows", "best", "success", "tally", "limits", "final", "validated", "missed", "best_weights"),
    *("logged", "engine", "metrics_digest", "table_rows"),
)
"""What a checkpoint holds of a run beside the place, by the names that `ResumedRun` has; all after `tally` may lack."""


@dataclass(frozen=True)
class TrainingPosition:
    """Where training stands between two steps of the optimiser.

    `batch` batches of epoch `epoch` are done, `batches` in all epochs. `generators` are the states of the random
    generators at that moment. `pending`: a validation is due here, and was not finished. `carried` are the states that
    the next batch of streams goes on from, by layer and part; empty where nothing is carried.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    batches: int = 0
    pending: bool = False
    generators: dict[str, Any] = field(default_factory=dict)
    carried: CarriedParts = field(default_factory=list)

    def next(self, batches_per_epoch: float) -> tuple[int, int]:
        """The epoch and the batch of it that come next."""
        return (self.epoch + 1, 0) if self.batch >= batches_per_epoch else (self.epoch, self.batch)


@dataclass(frozen=True, eq=False)
class ResumedRun:
    """An earlier run at its checkpoint: its folder, its record, and what was kept at that moment.

    `rows` are the rows of its metrics.csv, `best`, `final` and `success` those of its record; `tally` is what was
    counted for the next row of training metrics (None: it starts anew). `limits` are the trainer's of steps and epochs.
    `validated` is the step of the last validation, `missed` what early stopping counts, `best_weights` what was kept.
    `logged` is the step of the last row of training, `metrics_digest` that of the rows, `table_rows` how many rows each
    table has of the steps before.
    """

    folder: Path
    path: Path
    record: runs.RunRecord
    place: TrainingPosition
    next: tuple[int, int]
    rows: int
    best: dict[str, float]
    success: dict[str, Any]
    tally: dict[str, Any] | None
    limits: dict[str, int] = field(default_factory=dict)
    final: dict[str, float] = field(default_factory=dict)
    validated: int = -1
    missed: dict[str, Any] | None = None
    best_weights: dict[str, Any] | None = None
    logged: int = 0
    engine: dict[str, str] = field(default_factory=dict)
    metrics_digest: str = ""
    table_rows: dict[str, int] | None = None
    own: bool = False
    """Whether it goes on in its own folder, as if it had never been stopped."""

    def metrics(self) -> str:
        """The lines of metrics.csv that the run had written when the checkpoint was, with the header."""
        if not self.rows:
            return ""
        with contextlib.suppress(OSError, ValueError):
            return "".join(metrics_file.read_text(self.folder).splitlines(keepends=True)[: 1 + self.rows])
        return ""

    def check_metrics(self) -> None:
        """The rows of metrics that the checkpoint counts on are there.

        Raises:
            NoCheckpoint: they are not, or are others.
        """
        found = hashlib.sha256(self.metrics().encode("utf-8", "surrogateescape")).hexdigest()
        if self.metrics_digest and found != self.metrics_digest:
            path = self.folder / runs.METRICS
            what = "was changed" if path.exists() else "is missing"
            raise NoCheckpoint(f"resume: {path} {what} since {self.path.name} was written; train it again")

    def check_tables(self) -> None:
        """Likewise, of the tables."""
        wanted = self.table_rows or {}
        tables = self.tables(wanted)
        for name, count in wanted.items():
            if (there := len(tables.get(name, ()))) != count:
                path = self.folder / runs.PROBES / f"{name}.npy"
                raise NoCheckpoint(f"resume: {path} has {there} rows of the {count} that it had; train it again")

    def tables(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """The rows of these tables before the checkpoint's step; without those that the run left none of.

        Raises:
            ResumeError: one is damaged.
        """
        try:
            found = {name: runs.read_table(self.folder, name) for name in names}
        except runs.DamagedRecord as error:
            raise NoCheckpoint(f"resume: {error}, or remove it") from None
        step = self.place.step
        return {name: rows[rows["step"] < step] for name, rows in found.items() if rows is not None and len(rows)}


def generators(device: torch.device) -> dict[str, Any]:
    """The states of torch's generators: what dropout draws from."""
    found: dict[str, Any] = {"torch": torch.get_rng_state()}
    if device.type == "cuda" and torch.cuda.is_initialized():
        found["cuda"] = torch.cuda.get_rng_state(device)
    return found


def counting(model: Model) -> list[tuple[str, nn.Module]]:
    """The modules of strategies and regularizers, by their names in the model."""
    return [named for part in ("clipping", "regularizers") for named in getattr(model, part).named_modules(prefix=part)]


def counters(modules: Iterable[tuple[str, nn.Module]]) -> dict[str, torch.Tensor]:
    """The single numbers that such modules keep, by their names in the model's state: one may count batches, and a
    batch that was interrupted is taken anew."""
    found = {}
    for name, module in modules:  # not `named_buffers`, which looks at the members of all modules at every step
        for key, value in module._buffers.items():
            if value is not None and value.numel() == 1:
                found[f"{name}.{key}"] = value.clone()
    return found


def save(
    checkpoint: dict[str, Any], place: TrainingPosition, facts: Mapping[str, Any], kept: Mapping[str, Any]
) -> None:
    """Add to lightning's checkpoint where training stands, and bring its loops to that place: an interrupted step is
    taken anew, with the accumulated batches before it.

    Args:
        facts: what another run must have in common, of simple types.
        kept: `batches_per_epoch`, and what `KEPT` names, as in `ResumedRun`.
    """
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 (what other libraries draw from)
    others = {"numpy": (name, np.asarray(keys).tolist(), *rest), "python": random.getstate()}
    checkpoint[PLACE] = {**asdict(place), **kept, "facts": dict(facts), "others": others}
    epoch, batch = place.next(kept["batches_per_epoch"])
    loop = checkpoint["loops"]["fit_loop"]
    loop["epoch_progress"] = _progress(epoch, 1 if batch else 0)
    counts = ("ready", "started", "processed", "completed")
    loop["epoch_loop.batch_progress"] = {
        "total": dict.fromkeys(counts, place.batches),
        "current": dict.fromkeys(counts, batch),
        "is_last_batch": False,
    }
    # Private: lightning has no public way to say that no validation is under way.
    loop["epoch_loop.val_loop.batch_progress"] = _BatchProgress().state_dict()
    step = loop["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]
    step["total"] = {"ready": place.step, "completed": place.step}


def _progress(epochs: int, begun: int) -> dict[str, dict[str, int]]:
    """Lightning's count of epochs: so many are done, and perhaps another has begun."""
    one = {"ready": epochs + begun, "started": epochs + begun, "processed": epochs, "completed": epochs}
    return {"total": one, "current": dict(one)}


def restore(place: TrainingPosition, device: torch.device) -> None:
    """Set the random generators to where they stood."""
    torch.set_rng_state(place.generators["torch"].cpu())
    if device.type == "cuda" and "cuda" in place.generators:
        torch.cuda.set_rng_state(place.generators["cuda"].cpu(), device)
    name, keys, *rest = place.generators["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))  # noqa: NPY002
    version, state, gauss = place.generators["python"]
    random.setstate((version, tuple(state), gauss))


def checkpoint_of(given: Path) -> Path:
    """The checkpoint in a run's folder, or the file that is given.

    Raises:
        ResumeError: there is none.
    """
    path = given / runs.CHECKPOINT if given.is_dir() else given
    if given.is_dir() and not path.is_file() and (given / runs.PREVIOUS).is_file():
        return given / runs.PREVIOUS  # killed between the two
    if not path.is_file():
        raise NoCheckpoint(
            f"resume: given {given}, which is no run's folder with a {runs.CHECKPOINT}; give the folder of a run that "
            "was stopped or is done (a run that was killed before its first epoch ended has none)"
        )
    return path


def load(
    given: Path, data: DataModule, model: Model, seed: int, config: Mapping[str, Any], facts: Mapping[str, Any]
) -> ResumedRun:
    """The run to go on from, given its folder or its checkpoint, after checking that it is one of the same training.

    Nothing in the file is executed: it is read as tensors and plain values alone.

    Raises:
        ResumeError: there is no checkpoint or record, one is damaged, or they are of another model, other data, or
            another training.
    """
    path = checkpoint_of(given)
    try:
        record = runs.read(path.parent)
    except runs.DamagedRecord as error:
        raise ResumeError(f"resume: {error}") from None
    checkpoint = _read(path)
    place = checkpoint[PLACE]
    check_config(path.parent, place.get("config", record.config), config)
    check_record(path.parent, record, data, seed)
    check_facts(path.parent, place["facts"], facts)
    check_weights(path, checkpoint["state_dict"], model)
    generators = place["generators"] | place["others"]
    counts = {key: place[key] for key in ("step", "epoch", "batch", "batches", "pending")}
    stands = TrainingPosition(**counts, generators=generators, carried=place.get("carried", []))
    kept = {key: place[key] for key in KEPT if key in place}
    kept.setdefault("logged", stands.step)
    found = ResumedRun(path.parent, path, record, stands, stands.next(place["batches_per_epoch"]), **kept)
    found.check_metrics()
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        checkpoint = read_checkpoint(path)
    except Unreadable as error:
        raise NoCheckpoint(f"resume: {path} can't be read ({error}); train it again") from None
    expected = {PLACE, "state_dict", "optimizer_states", "loops"}
    if not isinstance(checkpoint, dict) or not expected <= set(checkpoint):
        raise NoCheckpoint(
            f"resume: {path} does not say where training stood, as those of an earlier rnn_research or of another "
            "program; train it again"
        )
    return checkpoint
