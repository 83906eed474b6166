"""A study by Optuna, whose trials are runs in the queue of a sweep's folder.

Optuna is asked for as many trials as there are workers, these are trained as any sweep is, and it is told what they
came to. The study lies in the sweep's folder. Killed at any moment and begun again by the same command, it goes on with
the trials that it was not told of, and ends with those that it would have had: what a trial is depends on those that
were told before, and on their number.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnn_research.cli import pruning, sweep_options, telling
from rnn_research.cli.engines import engine_of
from rnn_research.cli.launchers import OWN, workers
from rnn_research.cli.study_options import Space, StudyOptions
from rnn_research.cli.sweep_options import SweepOptions
from rnn_research.cli.sweeping import Sweep, train
from rnn_research.config.compose import Composer, in_hydra
from rnn_research.config.extras import require, require_loggers
from rnn_research.config.queue import queued, written
from rnn_research.config.similar import values_of_run
from rnn_research.errors import UsageError
from rnn_research.records import runs
from rnn_research.records.identity import digest
from rnn_research.sweeps import claims, store
from rnn_research.sweeps.folders import first_missing, remove_empty

if TYPE_CHECKING:
    from optuna import Study, Trial  # pyright: ignore[reportMissingImports]
    from optuna.storages import BaseStorage  # pyright: ignore[reportMissingImports]
    from optuna.trial import FrozenTrial  # pyright: ignore[reportMissingImports]

FOLDER = "study"
"""In the sweep's folder."""
FILES = {"journal": "journal.log", "sqlite": "study.db"}
REFUSED = ("dry_run", "exclude", "zip")
"""Options of a sweep that a study has no use for."""
NOT_TRAINED = ("refused", "left out")
"""How a trial ends whose options can't be had, or can't work together."""
MOST_REFUSED = 4
"""Trials in a row, at least, that may be refused before the study ends."""


def is_asked_for(overrides: list[str]) -> bool:
    """Whether a command line asks for a study."""
    return any(text.lstrip("+") == "hydra/sweeper=optuna" for text in overrides)


def search(composer: Composer, overrides: list[str], options: SweepOptions, heard: list[int]) -> int:
    """Carry a study out, and return the exit code: 1 where a run failed, 2 where one was refused.

    Raises:
        UsageError: what is asked for can't be had, or is not what the study in the folder was begun with.
        KeyboardInterrupt: a signal stopped it; the same command goes on.
    """
    require("optuna", "hydra/sweeper=optuna")
    for key in REFUSED:
        if key in options.given:
            raise UsageError(f"{key}: given, but a study chooses its own runs; leave it out")
    chosen = [text for text in overrides if text.lstrip("+~").startswith(("hydra.", "hydra/", "experiment="))]
    params = composer.compose(chosen).hydra.sweeper.params
    space = Space.of(overrides, params)
    base = composer.run(space.fixed)
    require_loggers(base.config.get("logger"))
    if not str(base.config.hydra.launcher._target_).startswith(OWN):
        raise UsageError("hydra/launcher: given another's, but a study needs local, slurm, ray or basic")
    asked, engine = StudyOptions.of(base.config.hydra.sweeper), engine_of(base.config)
    options = workers(base.config, overrides, options)
    if options.workers == 0:
        raise UsageError("workers: given 0, but a study has to know how its runs end; expected auto or more")
    with in_hydra(base.config):
        folder = Path(str(base.config.hydra.sweep.dir)).absolute()
    if engine is not None:
        engine.connect()
    given = {"space": space.searched, "metric": asked.metric, "maximised": asked.maximised}
    given["others"] = digest(values_of_run(base))
    with _study(folder, asked, given) as (study, storage):
        return _Search(composer, space, asked, options, engine, folder, study, storage).run(heard)


class _Search:
    def __init__(self, composer: Composer, space: Space, asked: StudyOptions, options: SweepOptions, engine: Any,
                 folder: Path, study: Study, storage: BaseStorage) -> None:  # fmt: skip
        self.composer, self.space, self.asked, self.options = composer, space, asked, options
        self.engine, self.folder, self.study, self.storage = engine, folder, study, storage
        self.distributions = space.distributions()
        self.code = self.refused = 0

    def run(self, heard: list[int]) -> int:
        at_once = self.options.workers or (sweep_options.cores() if self.engine is None else self.engine.room)
        self._settle()
        while len(told := self._trials(over=True)) < self.asked.n_trials:
            batch = [self._again(trial) for trial in self._trials(over=False)]
            wanted = min(at_once, self.asked.n_trials - len(told)) - len(batch)
            batch += [self._ask() for _ in range(wanted)]
            self._train(batch, heard)
            if self.code and self.options.fail_fast:
                break
        return self._closing()

    def _settle(self) -> None:
        """A trial whose process was killed before it was all chosen is none."""
        from optuna.trial import TrialState  # pyright: ignore[reportMissingImports]

        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not self._is_whole(trial):
                self.study.tell(trial.number, state=TrialState.FAIL)

    def _is_whole(self, trial: FrozenTrial) -> bool:
        return trial.params.keys() == self.distributions.keys()

    def _trials(self, over: bool) -> list[FrozenTrial]:
        """The trials that Optuna was told of, or those that it was not."""
        found = self.study.get_trials(deepcopy=False)
        return [trial for trial in found if trial.state.is_finished() == over and self._is_whole(trial)]

    def _complete(self) -> list[FrozenTrial]:
        """Those that were trained to their end."""
        from optuna.trial import TrialState  # pyright: ignore[reportMissingImports]

        told = self._trials(over=True)
        return [trial for trial in told if trial.state == TrialState.COMPLETE and trial.value is not None]

    def _ask(self) -> tuple[int, dict[str, Any]]:
        """One trial more. The sampler draws by how many there were, and not by what this process has drawn before."""
        self.study.sampler = _sampler(self.asked, len(self._trials(over=True)) + len(self._trials(over=False)))
        trial: Trial = self.study.ask(self.distributions)
        return trial.number, trial.params

    def _again(self, trial: FrozenTrial) -> tuple[int, dict[str, Any]]:
        return trial.number, trial.params

    def _train(self, batch: list[tuple[int, dict[str, Any]]], heard: list[int]) -> None:
        trials, prune = dict[int, store.QueuedRun](), pruning.rule(self.asked, self._complete())
        for number, params in batch:
            spec = self.composer.run(self.space.overrides(params)).numbered(number)
            (run,) = queued([spec], self.folder)
            run = replace(run, number=number, label=self._label(params), prune=prune)
            store.add(run, written(spec, run))
            trials[number] = run
        known = {run.digest: run for run in store.listed(self.folder)}
        trials = {number: known.get(run.digest, run) for number, run in trials.items()}
        unique = {run.digest: run for run in trials.values()}
        sweep = Sweep(self.folder, list(unique.values()), self.options, elsewhere=self.engine)
        sweep.places, sweep.total = {run.digest: run.number + 1 for run in unique.values()}, self.asked.n_trials
        train(sweep, heard)
        self.code = max(self.code, sweep.code)
        for number, run in sorted(trials.items()):
            self._tell(number, run, sweep.ended.get(run.digest) in NOT_TRAINED)
        refused = sum(sweep.ended.get(digest) in NOT_TRAINED for digest in unique)
        self.refused = self.refused + refused if refused == len(unique) else 0
        if self.refused >= max(MOST_REFUSED, len(unique)):
            raise UsageError(f"{self.refused} trials in a row were refused; mend what is searched")

    def _tell(self, number: int, run: store.QueuedRun, refused: bool) -> None:
        from optuna.trial import TrialState  # pyright: ignore[reportMissingImports]

        try:
            record = None if refused else runs.read(run.folder)
        except (runs.DamagedRecord, OSError):
            record = None
        if record is None or record.status != "done":
            self.study.tell(number, state=TrialState.FAIL)
            return
        if self.asked.metric not in record.final:
            raise UsageError(
                f"hydra.sweeper.metric: given {self.asked.metric}, which the runs do not have; expected one of "
                f"{', '.join(record.final)}"
            )
        if self.asked.pruner != "none":
            pruning.report(self.storage, number, run.folder, self.asked)
        value = record.final[self.asked.metric]
        if pruning.PRUNED in record.actual:
            self.study.tell(number, state=TrialState.PRUNED)
        elif value == value:
            self.study.tell(number, value)
        else:
            self.study.tell(number, state=TrialState.FAIL)

    def _label(self, params: dict[str, Any]) -> str:
        return ", ".join(
            f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in params.items()
        )

    def _closing(self) -> int:
        """Say which trial was best, and return the exit code."""
        from optuna.trial import TrialState  # pyright: ignore[reportMissingImports]

        told, good = self._trials(over=True), self._complete()
        pruned = sum(trial.state == TrialState.PRUNED for trial in told)
        text = f"{len(told)} trials in {self.folder}"
        if len(good) < len(told):
            text += f": {len(good)} done{f', {pruned} pruned' * bool(pruned)}"
        if bad := len(told) - len(good) - pruned:
            text += f", {bad} failed, diverged or refused"
        telling.tell(text)
        if good:
            pick = max if self.asked.maximised else min
            best = pick(good, key=lambda trial: trial.value)  # type: ignore[arg-type,return-value]
            telling.tell(f"best: #{best.number + 1} {self._label(best.params)}: {self.asked.metric} {best.value:.4g}")
        return self.code or int(not good)


def _sampler(asked: StudyOptions, count: int) -> Any:
    import warnings

    from optuna import samplers  # pyright: ignore[reportMissingImports]

    seed = int(hashlib.sha256(f"{asked.seed} {count}".encode()).hexdigest()[:8], 16)  # neighbours would draw alike
    if asked.sampler == "random":
        return samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that these arguments are experimental
        if asked.sampler == "gp":
            return samplers.GPSampler(seed=seed, deterministic_objective=True)
        return samplers.TPESampler(seed=seed, constant_liar=True)  # of trials that train, it thinks badly


@contextlib.contextmanager
def _study(folder: Path, asked: StudyOptions, given: dict[str, Any]) -> Iterator[tuple[Study, BaseStorage]]:
    """The study in a sweep's folder and where it is kept, which no other process leads meanwhile.

    Raises:
        UsageError: another one does; the study there was begun with something else; the folder holds other runs.
    """
    import optuna  # pyright: ignore[reportMissingImports]

    if (folder / runs.RECORD).exists() or (store.listed(folder) and not (folder / FOLDER).is_dir()):
        raise UsageError(f"{folder}: holds runs that are not of a study; give another hydra.sweep.dir")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    top = first_missing(folder / FOLDER)
    try:
        with claims.claimed(folder / FOLDER):
            direction = "maximize" if given["maximised"] else "minimize"
            storage = _storage(folder / FOLDER, asked.storage)
            study = optuna.create_study(
                storage=storage,
                study_name="study",
                direction=direction,
                load_if_exists=True,
            )
            before = study.user_attrs.get("given")
            for key in given:
                if before is not None and before[key] != given[key]:
                    raise UsageError(
                        f"{folder}: the study there was begun with other {_spoken(key)}; give the same, or another "
                        "hydra.sweep.dir"
                    )
            if before is None:
                study.set_user_attr("given", given)
                study.set_user_attr("options", asdict(asked))
            yield study, storage
    finally:
        remove_empty(folder / FOLDER, top)


def _spoken(key: str) -> str:
    return {"space": "keys or values to search", "maximised": "hydra.sweeper.direction", "others": "options"}.get(
        key, f"hydra.sweeper.{key}"
    )


def _storage(folder: Path, kind: str) -> Any:
    from optuna import storages  # pyright: ignore[reportMissingImports]

    there = [name for name, file in FILES.items() if (folder / file).exists()]
    if there and kind not in there:
        raise UsageError(
            f"hydra.sweeper.storage: given {kind}, but the study in {folder} is kept in {there[0]}; give that"
        )
    if kind == "sqlite":
        return storages.RDBStorage(f"sqlite:///{folder / FILES[kind]}")
    from optuna.storages.journal import JournalFileBackend  # pyright: ignore[reportMissingImports]

    path = folder / FILES[kind]
    _mend(path)
    return storages.JournalStorage(JournalFileBackend(str(path)))


def _mend(path: Path) -> None:
    """What a process that was killed may have left: a lock, and a line that is cut short."""
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if path.exists() and not (text := path.read_bytes()).endswith(b"\n"):
        os.truncate(path, text.rfind(b"\n") + 1)
