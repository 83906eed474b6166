"""Lightning's loggers, for a run that may be stopped and gone on with: all in its own folder, nothing sent anywhere."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger

from rnn_research.training.loggers import Beginning

IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""Unless the environment says otherwise: MLflow would try for minutes to reach a server that is not there."""


def _replay(logger: Any, beginning: Beginning) -> None:
    for step, values in beginning.rows:
        logger.log_metrics(values, step=step)


def _begin_anew(logger: CSVLogger | TensorBoardLogger, beginning: Beginning) -> None:
    """Write the config and the rows so far in place of what is there."""
    shutil.rmtree(logger.log_dir, ignore_errors=True)
    logger.log_hyperparams(dict(beginning.config))
    _replay(logger, beginning)


class RowsLogger(CSVLogger):
    """Rows in `FOLDER/<name>/<version>/metrics.csv`, written anew where a run goes on.

    Args:
        save_dir: the run's folder.
        name: a folder between that and `version`; None: none.
        version: the folder in it.
        prefix: before each metric's name.
    """

    def __init__(self, save_dir: str, name: str | None = None, version: str = "lightning", prefix: str = "") -> None:
        super().__init__(save_dir, name, version, prefix=prefix)

    def begin(self, beginning: Beginning) -> None:
        """Write the config and the rows so far."""
        _begin_anew(self, beginning)
        self.save()

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """As lightning's; each row is in the file at once."""
        super().log_metrics(metrics, step)
        self.experiment.save()

    def text(self, name: str, text: str, step: int) -> None:
        """A column of its own."""
        self.experiment.log_metrics({name: text}, step)  # type: ignore[dict-item]
        self.experiment.save()


class EventsLogger(TensorBoardLogger):
    """TensorBoard's events in `FOLDER/<name>/<version>/`, written anew where a run goes on.

    Args:
        save_dir: the run's folder.
        name: a folder between that and `version`; None: none.
        version: the folder in it.
        prefix: before each metric's name.
    """

    def __init__(self, save_dir: str, name: str | None = None, version: str = "tensorboard", prefix: str = "") -> None:
        super().__init__(save_dir, name, version, prefix=prefix)

    def begin(self, beginning: Beginning) -> None:
        """Write the config and the rows so far."""
        _begin_anew(self, beginning)

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """As lightning's; on disk at once."""
        writer = self.experiment
        if not os.path.isdir(self.log_dir):  # else the writer's own thread ends with a traceback on stderr
            raise FileNotFoundError(f"{self.log_dir} is gone")
        super().log_metrics(metrics, step)
        writer.flush()

    def text(self, name: str, text: str, step: int) -> None:
        """In the tab for texts."""
        self.experiment.add_text(name, text, step)
        self.experiment.flush()

    def end(self, status: str) -> None:
        """Close the file."""
        self.finalize(status)
        self.experiment.close()


class TrackedLogger(MLFlowLogger):
    """A run of MLflow's, in a database of SQLite in the run's folder, or at `tracking_uri`.

    Args:
        save_dir: the run's folder.
        tracking_uri: a database or a server; None: `FOLDER/mlflow.db`.
        experiment_name: MLflow's own name for what several runs belong to.
        tags: of the run.
        prefix: before each metric's name.
    """

    TAG = "rnn_research.run"
    """Says which run it is, so that a run that goes on is found again."""

    def __init__(
        self,
        save_dir: str,
        tracking_uri: str | None = None,
        experiment_name: str = "rnn_research",
        tags: dict[str, Any] | None = None,
        prefix: str = "",
    ) -> None:
        self.database = None if tracking_uri else Path(save_dir).resolve() / "mlflow.db"
        self._arguments: dict[str, Any] = {
            "experiment_name": experiment_name,
            "tracking_uri": tracking_uri or f"sqlite:///{self.database}",
            "tags": dict(tags or {}),
            "save_dir": save_dir,
            "prefix": prefix,
            "artifact_location": None if tracking_uri else (Path(save_dir).resolve() / "mlflow").as_uri(),
        }
        self.seen: set[tuple[str, int]] = set()
        """The values that MLflow has: it keeps every one that it is given, also twice."""

    def begin(self, beginning: Beginning) -> None:
        """Begin MLflow's run, or go on with it. Not before: its client makes the database, which takes seconds."""
        for name, least in IMPATIENT.items():
            os.environ.setdefault(name, least)
        import mlflow  # noqa: F401  # pyright: ignore[reportMissingImports] (sets up the loggers that are quietened)

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        super().__init__(**self._arguments)
        earlier = self._earlier(beginning.identity) if beginning.again else None
        self._run_name = beginning.name
        self.tags = {**(self.tags or {}), self.TAG: beginning.identity}
        if earlier is None:
            self.log_hyperparams(dict(beginning.config))
        else:
            self._run_id = earlier.info.run_id
            self.experiment.set_terminated(self._run_id, "RUNNING")
            for key in earlier.data.metrics:
                self.seen |= {(key, item.step) for item in self.experiment.get_metric_history(self._run_id, key)}
        _replay(self, beginning)

    def _earlier(self, identity: str) -> Any:
        found = self._mlflow_client.get_experiment_by_name(self._experiment_name)
        if found is None:
            return None
        asked = f"tags.`{self.TAG}` = '{identity}'"
        return next(iter(self._mlflow_client.search_runs([found.experiment_id], asked)), None)

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """As lightning's, but nothing twice."""
        at = step or 0
        new = {key: value for key, value in metrics.items() if (self._prefixed(key), at) not in self.seen}
        if self.database is not None and not self.database.exists():
            raise FileNotFoundError(f"{self.database} is gone")  # SQLite would write into the file that was removed
        if new:
            super().log_metrics(new, step)
            self.seen |= {(self._prefixed(key), at) for key in new}

    def _prefixed(self, key: str) -> str:
        return f"{self._prefix}{self.LOGGER_JOIN_CHAR}{key}" if self._prefix else key

    def text(self, name: str, text: str, step: int) -> None:
        """A tag."""
        self.experiment.set_tag(self.run_id, name, text[:5000])

    def end(self, status: str) -> None:
        """Say how it ended."""
        self.finalize({"success": "FINISHED", "interrupted": "KILLED"}.get(status, "FAILED"))


class OfflineLogger(WandbLogger):
    """A run of Weights & Biases', in the run's folder: `wandb sync FOLDER/wandb/offline-run-*` sends it.

    Args:
        save_dir: the run's folder.
        project: what several runs belong to; likewise `entity` and `group`.
        offline: false: sent as it is made.
        name: of the run; None: its folder's.
        tags: of the run.
        prefix: before each metric's name.
    """

    def __init__(
        self,
        save_dir: str,
        project: str = "rnn_research",
        offline: bool = True,
        name: str | None = None,
        entity: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
        prefix: str = "",
    ) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        super().__init__(
            name=name,
            save_dir=save_dir,
            project=project,
            prefix=prefix,
            entity=entity,
            group=group,
            tags=tags,
            mode="offline" if offline else "online",
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True, init_timeout=30.0),
        )
        del self._wandb_init["anonymous"]  # of which wandb says that it has no effect
        self.offline = offline

    def begin(self, beginning: Beginning) -> None:
        """Begin the run, or go on with it under its identity. Offline it is written anew; else it has the rows."""
        self._wandb_init |= {"id": beginning.identity, "name": self._wandb_init["name"] or beginning.name}
        if self.offline:
            for folder in Path(str(self.save_dir), "wandb").glob(f"offline-run-*-{beginning.identity}"):
                shutil.rmtree(folder, ignore_errors=True)
        self.log_hyperparams(dict(beginning.config))
        if self.offline or not beginning.again:
            _replay(self, beginning)

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """As lightning's; its files must be there still."""
        super().log_metrics(metrics, step)
        if self.offline and not os.path.isdir(self.experiment.dir):
            raise FileNotFoundError(f"{self.experiment.dir} is gone")

    def text(self, name: str, text: str, step: int) -> None:
        """In the summary."""
        self.experiment.summary[name] = text

    def abandon(self) -> None:
        """Let wandb forget its process: the next run has another, and at the end of this one nothing is said of it."""
        import wandb  # pyright: ignore[reportMissingImports]

        with contextlib.suppress(BaseException):
            wandb.teardown(exit_code=1)
        os.environ.pop("WANDB_SERVICE", None)
        wandb.run = None  # or the next run would go on with it

    def end(self, status: str) -> None:
        """Close the run: another one of this process would go on with it."""
        with contextlib.suppress(FileNotFoundError):
            self.experiment.finish(exit_code=0 if status == "success" else 1)
