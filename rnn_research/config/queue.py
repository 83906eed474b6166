"""Composed runs as plain values, in the queue of a sweep's folder and back; and the worker that trains them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

from hydra.conf import HydraConf
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from rnn_research.config.compose import ComposedRun, in_hydra
from rnn_research.config.environment import untyped
from rnn_research.config.short_keys import register
from rnn_research.config.similar import OF_HYDRA, SimilarRun, as_plain, values_of_run
from rnn_research.errors import UsageError
from rnn_research.records.annotated import Check, check_of
from rnn_research.records.identity import digest, digests
from rnn_research.records.runs import RunRecord
from rnn_research.sweeps import heart, store, worker
from rnn_research.sweeps.store import QueuedRun
from rnn_research.sweeps.worker import Event, Rules

AnyRun = ComposedRun | SimilarRun
LONGEST = 200
"""Bytes of a run's folder's name."""


def queued(specs: Sequence[AnyRun], sweep: Path) -> list[QueuedRun]:
    """The runs of a sweep as they stand in its folder's queue, each once.

    Raises:
        UsageError: two of them would lie in one folder.
    """
    configs = [values_of(spec) for spec in specs]
    both = [digests(config) for config in configs]
    names = [name for name, _ in both]
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    found: dict[str, QueuedRun] = {}
    folders: dict[str, str] = {}
    for number, (spec, config, (name, other)) in enumerate(zip(specs, configs, both, strict=True)):
        name = digest(config, ()) if name in twice else name  # such as a sweep over threads
        if name in found:
            continue
        folder = _folder(spec, name)
        if folder in folders:
            raise UsageError(
                f"hydra.sweep.subdir: two runs would lie in {folder}; name the folders by what tells the runs apart, "
                "or leave it out"
            )
        folders[folder] = name
        found[name] = QueuedRun(sweep, name, folder, number, label(spec), other)
    return list(found.values())


def values_of(spec: AnyRun) -> Any:
    """All values that a run trains with, resolved."""
    return spec.values() if isinstance(spec, SimilarRun) else values_of_run(spec)


def _folder(spec: AnyRun, name: str) -> str:
    """The run's folder within the sweep's, short enough for every file system."""
    given = spec.folder(name[:10]) if isinstance(spec, SimilarRun) else None
    if given is None:
        hydra = spec.config.hydra
        with read_write(hydra), open_dict(hydra):
            hydra.job.id = name[:10]
        given = (spec.composed if isinstance(spec, SimilarRun) else spec).folder(swept=True)
    parts = [part for part in given.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise UsageError(f"hydra.sweep.subdir: given {given!r}, expected a folder within the sweep's")
    return "/".join(part if len(os.fsencode(part)) <= LONGEST else _shortened(part, name) for part in parts)


def _shortened(part: str, name: str) -> str:
    start = os.fsencode(part)[: LONGEST - 12].decode("utf-8", "ignore")
    return f"{start}-{name[:10]}"


def label(spec: AnyRun) -> str:
    """What was typed for a run, without the experiment that all have."""
    given = [item for item in spec.typed if not item.startswith("experiment=")]
    return ", ".join(given or spec.typed) or "defaults"


def written(spec: AnyRun, run: QueuedRun) -> dict[str, Any]:
    """A run as it is written into the queue."""
    return spec.plain(run.digest[:10]) if isinstance(spec, SimilarRun) else as_plain(spec)


def as_composed(values: dict[str, Any]) -> ComposedRun:
    """A composed run again. Nothing is executed: a config is data until `run_one` builds what it names.

    Raises:
        TypeError: Hydra's part is not of the types that it declares. Hydra's own check takes a sixth of a small run.
    """
    register()
    if values["hydra"].keys() != set(OF_HYDRA) or not check_of(HydraConf, _of_hydra)(values["hydra"]):
        raise TypeError("hydra's part of the config has other keys or types than hydra's")
    for key in ("overrides", "long"):
        _texts(values[key], key)
    config = OmegaConf.create({**values["config"], "hydra": values["hydra"]})
    OmegaConf.set_struct(config, True)
    assert isinstance(config, DictConfig)
    folders = tuple(map(Path, values["folders"]))
    return ComposedRun(config, tuple(values["overrides"]), tuple(values["long"]), folders)


def _of_hydra(hint: Any) -> Check:
    """The check of a part of Hydra's config, in plain values: some of them missing, or said by reference."""
    if not is_dataclass(hint):
        return lambda value: hint is Any or value in list(RunMode.__members__)
    declared = get_type_hints(hint).items()
    checks = {name: check_of(kind, _of_hydra) for name, kind in declared}

    def check(values: Any) -> bool:
        return isinstance(values, dict) and all(
            name in checks and (checks[name](value) or (isinstance(value, str) and value.startswith(("???", "${"))))
            for name, value in values.items()
        )

    return check


@dataclass(frozen=True)
class QueueTrainer:
    """Trains runs of a queue in this process.

    Args:
        trust: whether runs may use code that is not rnn_research's, as their configs say: of config folders, and of
            packages in `trust=[...]`.
        progress: show a bar with the time left.
    """

    trust: bool = False
    progress: bool = False

    def __call__(self, run: QueuedRun) -> RunRecord:
        from rnn_research.config.run_one import run_one
        from rnn_research.training.spec import Pruning

        extends = run.sweep / run.extends if run.extends else None
        prune = Pruning.of(run.prune)
        return run_one(self._spec(run), run.folder, progress=self.progress, go_on=True, extends=extends, prune=prune)

    def give_up(self, run: QueuedRun, reason: str) -> RunRecord:
        """Leave the record of a run that failed."""
        from rnn_research.config.run_one import failed

        return failed(self._spec(run), run.folder, reason)

    def _spec(self, run: QueuedRun) -> ComposedRun:
        values = run.spec()
        with store.reading(run.path):
            own = [*_texts(values["folders"], "folders"), *(values["config"].get("trust") or ())]
        if own and not self.trust:
            raise NotTrusted(
                f"{run.path}: the run takes code from {', '.join(map(str, own))}; add --trust if you know who made it"
            )
        with store.reading(run.path, OmegaConfBaseException):
            composed = as_composed(values)
        if not self.trust:
            with in_hydra(composed.config):
                key = untyped(composed.config, ())
            if key:
                raise NotTrusted(
                    f"{run.path}: {key} reads the environment of this machine; add --trust if you know who made it"
                )
        return composed


def _texts(given: Any, what: str) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise TypeError(f"{what} is {str(given)[:80]!r}, expected a list of texts")
    return given


class NotTrusted(OSError):
    """A run of a queue that would execute code from elsewhere: it stays in the queue."""


def work(
    folder: Path,
    limit: int | None = None,
    *,
    rules: Rules | None = None,
    trust: bool = False,
    progress: bool = False,
    tell: Callable[[Event], None] = lambda event: None,
) -> int:
    """Train runs of a sweep's folder in this process until none is left for it, and return how many were trained.

    Other processes may do the same at the same time, on this machine or another that sees the folder.

    Args:
        folder: the sweep's.
        limit: the most runs to train; None: all.
        rules: which runs, and until when; `limit` counts before theirs.
        trust: whether runs may use the code of config folders and packages that they name.
        progress: show a bar for each run.
        tell: is told how each run ended.

    Raises:
        DamagedQueue: the queue can't be read.
        KeyboardInterrupt: a signal ended it; the run that was trained has left its record, and is free.
    """
    rules = rules or Rules()
    heart.start()
    rules = rules if limit is None else replace(rules, limit=limit)
    return worker.work(store.listed(folder), QueueTrainer(trust, progress), rules, tell)
