"""Train on from where an earlier run stood: what its checkpoint must hold beside the weights, and how that is read.

A checkpoint is lightning's own (weights, buffers, optimiser, loops) with one more entry, `PLACE`. Training that is
stopped there and resumed takes the same steps, bit for bit, as training that was not stopped.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loops.progress import _BatchProgress

from rnn_research.datasets.base import DataModule
from rnn_research.models.model import Model
from rnn_research.records import checksum as seal
from rnn_research.records import runs
from rnn_research.records.canonical import canonical
from rnn_research.records.identity import may_differ, values_of
from rnn_research.records.version1 import renamed

PLACE = "rnn_research"
KEPT = (
    *("rows", "best", "success", "tally", "limits", "final", "validated", "missed", "best_weights"),
    *("logged", "metrics_digest", "table_rows"),
)
"""What a checkpoint holds of a run beside the place, by the names that `ResumedRun` has; all after `tally` may lack."""


class ResumeError(ValueError):
    """A run that can't be trained on from: the message says what was given, what was expected, and the repair."""


class NoCheckpoint(ResumeError):
    """There is no checkpoint, or it is damaged: one written before it may be whole."""


@dataclass(frozen=True)
class TrainingPosition:
    """Where training stands between two steps of the optimiser.

    `batch` batches of epoch `epoch` are done, `batches` in all epochs. `generators` are the states of the random
    generators at that moment. `pending`: a validation is due here, and was not finished.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    batches: int = 0
    pending: bool = False
    generators: dict[str, Any] = field(default_factory=dict)

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
    metrics_digest: str = ""
    table_rows: dict[str, int] | None = None
    own: bool = False
    """Whether it goes on in its own folder, as if it had never been stopped."""

    def metrics(self) -> str:
        """The lines of metrics.csv that the run had written when the checkpoint was, with the header."""
        path = self.folder / runs.METRICS
        if not self.rows or not path.exists():
            return ""
        return "".join(path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)[: 1 + self.rows])

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


def counters(model: Model) -> dict[str, torch.Tensor]:
    """The single numbers that strategies and regularizers keep, by their names in the model's state: one may count
    batches, and a batch that was interrupted is taken anew."""
    found = {}
    for part in ("clipping", "regularizers"):
        for name, value in getattr(model, part).named_buffers(part):
            if value.numel() == 1:
                found[name] = value.clone()
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
    _check_config(path.parent, place.get("config", record.config), config)
    _check_record(path.parent, record, data, seed)
    _check_facts(path.parent, place["facts"], facts)
    _check_weights(path, checkpoint["state_dict"], model)
    generators = place["generators"] | place["others"]
    stands = TrainingPosition(
        **{key: place[key] for key in ("step", "epoch", "batch", "batches", "pending")}, generators=generators
    )
    kept = {key: place[key] for key in KEPT if key in place}
    kept.setdefault("logged", stands.step)
    found = ResumedRun(path.parent, path, record, stands, stands.next(place["batches_per_epoch"]), **kept)
    found.check_metrics()
    return found


def check_limits(earlier: ResumedRun, trainer: Trainer, spans_run: bool = False) -> None:
    """Whether the limits leave something to train, or the run was stopped between its last step and its end.

    Args:
        spans_run: the learning rate's schedule goes over the whole run, so that it must have the same limits.

    Raises:
        ResumeError: they don't, or have to be the same and are not.
    """
    for name, before in earlier.limits.items() if spans_run else ():
        if (given := getattr(trainer, name)) != before:
            raise ResumeError(
                f"resume: given trainer.{name}={given}, but {earlier.folder} has {before}, and its scheduler goes over "
                "the run's steps; give the same, or start both with scheduler.steps=N"
            )
    steps, epochs, over = trainer.max_steps, trainer.max_epochs, earlier.record.status == "done"
    if steps not in (None, -1) and steps < earlier.place.step + over:
        raise ResumeError(
            f"resume: given {earlier.folder}, which is at step {earlier.place.step}, and trainer.max_steps={steps}; "
            "expected more steps than that"
        )
    if epochs not in (None, -1) and epochs < earlier.next[0] + over:
        raise ResumeError(
            f"resume: given {earlier.folder}, which has {earlier.next[0]} epochs behind it, and trainer.max_epochs="
            f"{epochs}; expected more epochs than that (or trainer.max_epochs=-1 trainer.max_steps=N)"
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        seal.check(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and torch each have their own
        reason = " ".join(str(error).split())[:200]
        raise NoCheckpoint(f"resume: {path} can't be read ({type(error).__name__}: {reason}); train it again") from None
    expected = {PLACE, "state_dict", "optimizer_states", "loops"}
    if not isinstance(checkpoint, dict) or not expected <= set(checkpoint):
        raise NoCheckpoint(
            f"resume: {path} does not say where training stood, as those of an earlier rnn_research or of another "
            "program; train it again"
        )
    return checkpoint


def _check_config(folder: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Refuse another value of a key that makes the training what it is.

    A run without a config, from a notebook, is told from others by its facts alone.
    """
    if not theirs or not ours:
        return
    before, now = (values_of(renamed(runs.plain(dict(config)))) for config in (theirs, ours))
    for key in dict.fromkeys((*now, *before)):
        both = key in now and key in before
        if may_differ(key) or (both and canonical(now[key], key) == canonical(before[key], key)):
            continue
        given, expected = (f"{key}={values[key]}" if key in values else f"no {key}" for values in (now, before))
        raise ResumeError(f"resume: given {given}, but {folder} has {expected}; give the same")


def _check_record(folder: Path, record: runs.RunRecord, data: DataModule, seed: int) -> None:
    """The same seed and data."""
    if seed != record.seed:
        raise ResumeError(f"resume: given seed={seed}, but {folder} has seed={record.seed}; give the same")
    found = {"name": type(data).__name__, "fingerprint": data.fingerprint}
    if any(record.data.get(key) != value for key, value in found.items()):
        said = [f"{one.get('name')} with fingerprint {one.get('fingerprint')}" for one in (found, record.data)]
        raise ResumeError(f"resume: given data {said[0]}, but {folder} has {said[1]}; give the same data")


def _check_facts(folder: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    for key, given in ours.items():
        if theirs.get(key) != given:
            raise ResumeError(f"resume: given {key} {given}, but {folder} has {theirs.get(key)}; give the same")


def _check_weights(path: Path, weights: Mapping[str, torch.Tensor], model: Model) -> None:
    """Every parameter has its shape; a buffer, such as a clipping strategy's memory, may have grown."""
    buffers = {name for name, _ in model.named_buffers()}
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    for name in (*expected, *found):
        if expected.get(name) != found.get(name) and not (name in buffers and name in found):
            here, there = (shapes.get(name, "none") for shapes in (expected, found))
            raise ResumeError(
                f"resume: given a model whose {name} has shape {here}, but {path} has {there}; give the same model"
            )
