"""Train live objects and leave a run record: callable from the command line, a test or a notebook."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.profilers import PassThroughProfiler

from rnn_research.datasets.base import DataModule
from rnn_research.models.model import Model, count_parameters
from rnn_research.models.schedules import NoSchedule
from rnn_research.probes.base import Probe
from rnn_research.probes.callback import ProbeCallback
from rnn_research.records import encoding, runs
from rnn_research.records.sources import joined, sources
from rnn_research.sweeps import claims
from rnn_research.training import provenance, resume
from rnn_research.training.go_on import begin_metrics, find_earlier, remove_half_written, remove_traces
from rnn_research.training.lean_loop import make_lean
from rnn_research.training.live_record import now
from rnn_research.training.recorder import Recorder
from rnn_research.training.single_process import alone
from rnn_research.training.spec import RunSpec
from rnn_research.training.stopping import Diverged
from rnn_research.training.watched import check_watched, monitored

__all__ = ["Diverged", "Recorder", "RunSpec", "fit"]


def fit(
    data: DataModule, model: Model, trainer: Callable[..., Trainer], probes: Mapping[str, Probe], run: RunSpec
) -> runs.RunRecord:
    """Train, then measure the last weights, or the best where these are kept, on the validation, the test and further
    sets; leave everything in a folder.

    Args:
        data: with its `layout` set.
        model: made for `data.task`.
        trainer: makes lightning's Trainer, given callbacks, loggers and a folder.
        probes: by the name under which each is stored.
        run: the folder, and what tells this run from others.

    Returns:
        The record, as written: `done`, or `diverged` where the loss became NaN or infinite.

    Raises:
        FileExistsError: the folder already holds a run.
        ResumeError: the earlier run has no checkpoint that can be read, or is of another training (a ValueError).
        ValueError: a sample has no tree, and they are laid out along their trees; stop_when_solved, or a rule, that
            the task has no metric for; a metric is to be looked at that no validation measures.
        KeyboardInterrupt: after an `interrupted` record is written.
        Exception: whatever training raised, after a `failed` record is written.
    """
    if not run.go_on:
        _check_free(run.folder)
    runs.check_tables(probes)
    if data.layout.needs_parse:
        data.check_trees()
    rule, facts = model.success(run.stop_when_solved), _facts(data, model)
    check_watched(model, run)
    earlier = find_earlier(run, data, model, facts)
    data.start = (0, 0) if earlier is None else earlier.next
    _seed(run.seed)
    record = _begun(run, data, model, rule, earlier)
    recorder = Recorder(record, run, probes, earlier, monitored(run.keep_best, model.task), facts)
    callbacks = [ProbeCallback(probe, name) for name, probe in probes.items()]
    live = _trainer(trainer, [*callbacks, *recorder.callbacks], run.folder)
    if earlier is not None and not earlier.own:
        resume.check_limits(earlier, live, model.scheduler.spans_run)
    actual = {"precision": str(live.precision), "hidden_sizes": [cell.hidden_size for cell in model.cells]}
    recorder.live.change(actual=actual)
    with _claimed(run):  # not before: nothing is left of a Trainer that can't be made
        if run.go_on and (earlier is None or not earlier.own):
            remove_traces(run.folder)
        recorder.live.write()
        encoding.write(run.folder, _encoding(data))
        remove_half_written(run.folder)
        begin_metrics(run.folder, "" if earlier is None else earlier.metrics())
        recorder.best.begin()
        return recorder.run(live, model, data)


def _begun(
    run: RunSpec, data: DataModule, model: Model, rule: dict[str, Any], earlier: resume.ResumedRun | None
) -> runs.RunRecord:
    """The record of a run that begins, or goes on in its own folder as if nothing had been."""
    own = earlier is not None and earlier.own
    return runs.RunRecord(
        name=run.name or run.folder.name,
        status="running",
        choices=dict(run.choices),
        overrides=list(run.overrides),
        seed=run.seed,
        config=dict(run.config),
        parameters=count_parameters(model),
        data=_described(data),
        versions=provenance.versions(),
        commit=provenance.commit(),
        machine=provenance.machine(),
        start=earlier.record.start if earlier is not None and own else now(),
        baselines=data.baselines(),
        final={} if earlier is None else dict(earlier.final),
        best={} if earlier is None else earlier.best,
        success=rule if earlier is None or not _same_rule(rule, earlier.success) else earlier.success,
        resumed=_resumed(earlier, run.folder),
        sources=joined({} if earlier is None else earlier.record.sources, sources(run.folders)),
    )


def _resumed(earlier: resume.ResumedRun | None, folder: Path) -> dict[str, Any]:
    """What the record says of the run that this one goes on from, unless that is itself: both may be moved together."""
    if earlier is None:
        return {}
    if earlier.own:
        return earlier.record.resumed
    there = earlier.folder.resolve()
    with suppress(ValueError):  # on another drive
        there = Path(os.path.relpath(there, folder.resolve()))
    return {"folder": there.as_posix(), "step": earlier.place.step}


def _described(data: DataModule) -> dict[str, Any]:
    """What a record holds of the data."""
    found: dict[str, Any] = {"name": type(data).__name__, "fingerprint": data.fingerprint}
    if data.task.classes is not None:
        found["classes"] = list(data.task.classes)
    return found | ({"read": data.read_report} if data.read_report else {})


def _encoding(data: DataModule) -> dict[str, Any]:
    """What turns raw data into what the model reads, and the sizes it was made for: see `records.encoding`."""
    encoder = data.encoder
    return {
        "task": data.task.plain(),
        "structure": data.layout.name,
        "encoder": None if encoder is None else {"kind": encoder.kind, **encoder.plain()},
    }


def _check_free(folder: Path) -> None:
    if found := runs.in_use(folder):
        raise FileExistsError(f"{folder}: already holds a run ({found}); nothing was written")


@contextmanager
def _claimed(run: RunSpec) -> Iterator[None]:
    """The folder is this run's alone: of two that start there at once, one is refused."""
    try:
        with claims.claimed(run.folder):
            if not run.go_on:
                _check_free(run.folder)
            yield
    except claims.Claimed as error:
        raise FileExistsError(str(error)) from error


def _trainer(make: Callable[..., Trainer], callbacks: list[Any], folder: Path) -> Trainer:
    """Lightning's Trainer, less what it does slowly. It has no loggers: one that fails would end the run."""
    live = make(
        callbacks=callbacks,
        logger=False,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        plugins=alone(getattr(make, "keywords", {}).get("plugins")),
    )
    live.precision_plugin.convert_input = lambda data: data  # the model does it; lightning can't with a frozen Batch
    if type(live.profiler) is PassThroughProfiler:  # type: ignore[attr-defined]
        live.profiler = _Unprofiled()  # type: ignore[attr-defined]
    live._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]  # `DeferredSignals` hears
    make_lean(live)
    return live


def _same_rule(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two records count by the same rule, whatever step it was met at."""
    return {**one, "step": None} == {**other, "step": None}


def _facts(data: DataModule, model: Model) -> dict[str, Any]:
    """What makes a training what it is, beside the data and the shapes of the weights."""
    optimizer = getattr(model.optimizer, "func", model.optimizer)
    return {
        "cell": type(model.cells[0]).__name__,
        "clipping": "+".join(type(one).__name__ for one in model.strategies),
        "regularizers": "+".join(type(one).__name__ for one in model.regularizers.values()) or "none",
        "optimizer": getattr(optimizer, "__name__", type(optimizer).__name__),
        "scheduler": None if type(model.scheduler) is NoSchedule else type(model.scheduler).__name__,
        "structure": data.layout.name,
        "batch_size": data.batch_size,
        "bucket": data.bucket,
        "order_seed": data.order_seed,
        **data.facts,
    }


class _Unprofiled(PassThroughProfiler):
    """No profiler, as lightning's own, which makes a context of a generator for each of some 40 hooks a step."""

    NOTHING = nullcontext()
    lean = True
    """Nothing is lost where it is not asked."""

    def profile(self, action_name: str) -> Any:
        return self.NOTHING


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (what other libraries draw from)
    torch.manual_seed(seed)
