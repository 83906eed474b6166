"""What surrounds the folds: training with a record, and commands that answer."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from benchmarks.timing import Case, Measured, Registry, ratio, spread, summed_up

FIRST, LAST = 50, 600
"""The steps of training that are timed: past the start, within the first epoch."""


def composed(typed: list[str]) -> Any:
    """The config of what is typed, with keys in full."""
    from hydra import compose, initialize_config_dir

    from rnn_research.config.groups import CONF

    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("train", typed)


def fit_overhead(rounds: int) -> Measured:
    """What a step of `fit` takes beyond a bare loop over the same batches, made beforehand, with the same model."""
    from rnn_research.config.build import build

    cfg = composed(["dataset=adding", "model=rnn", f"trainer.max_steps={LAST}"])
    batches = [batch for _, batch in zip(range(LAST - FIRST), build(cfg).data.train_dataloader(), strict=False)]
    over, bare = [], []
    for index in range(min(rounds, 9)):
        parts = build(cfg)
        parts.data.samples("train")
        both = {"fit": partial(_fitted, parts), "bare": partial(_bare, parts.model, batches, len(batches))}
        taken = {name: both[name]() for name in list(both)[:: -1 if index % 2 else 1]}
        over.append(1e3 * (taken["fit"] - taken["bare"]))
        bare.append(1e3 * taken["bare"])
    said = "a bare loop's step, ms more: adding, rnn, default probes"
    return Measured(statistics.median(over), "ms", said, f"{spread(over)}; bare {statistics.median(bare):.2f} ms")


def fit_ratio(rounds: int) -> Measured:
    """A step of `fit` over one of a bare loop that serves the same batches to the same model."""
    from rnn_research.config.build import build

    cfg = composed(["dataset=adding", "model=rnn", f"trainer.max_steps={LAST}"])
    taken = []
    for index in range(min(rounds, 9)):
        parts, other = build(cfg), build(cfg)
        both = {"fit": partial(_fitted, parts), "bare": partial(_served, other)}
        taken.append({name: both[name]() for name in list(both)[:: -1 if index % 2 else 1]})
    return summed_up(taken, lambda t: t["fit"] / t["bare"], "a bare loop with its batches: adding, rnn, default probes")


def _served(parts: Any) -> float:
    """CPU seconds a step of the bare loop, the making of batches included."""
    return _bare(parts.model, islice(iter(parts.data.train_dataloader()), FIRST, LAST), LAST - FIRST)


def _fitted(parts: Any) -> float:
    """CPU seconds a step of training, with the probes and records of a real run."""
    from lightning.pytorch import Callback

    from rnn_research.training.fit import RunSpec, fit

    class Clock(Callback):
        at: dict[int, float] = {}  # noqa: RUF012

        def on_train_batch_end(self, trainer: Any, *rest: Any) -> None:  # type: ignore[override]
            if trainer.global_step in (FIRST, LAST):
                self.at[trainer.global_step] = time.process_time()

    clock = Clock()

    def trainer(callbacks: list[Any], **others: Any) -> Any:
        return parts.trainer(callbacks=[*callbacks, clock], **others)

    with tempfile.TemporaryDirectory() as folder:
        fit(parts.data, parts.model, trainer, parts.probes, RunSpec(Path(folder) / "run"))
    return (clock.at[LAST] - clock.at[FIRST]) / (LAST - FIRST)


def _bare(model: Any, batches: Iterable[Any], steps: int) -> float:
    """CPU seconds a step of the shortest loop that trains the model."""
    optimizer = model.configure_optimizers()
    model.train()
    start = time.process_time()
    for batch in batches:
        optimizer.zero_grad()
        answers = model(batch)
        torch.nn.functional.mse_loss(answers, batch.target.view_as(answers)).backward()
        optimizer.step()
    return (time.process_time() - start) / steps


def help_time(command: str, rounds: int) -> Measured:
    """Seconds on the wall until a command's --help has answered, over those of `import torch`."""
    code = f"import sys; from rnn_research.cli.{command} import main; sys.exit(main())"
    answer = partial(_python, "-c", code, "--help")
    return ratio(answer, partial(_python, "-c", "import torch"), rounds, "import torch", clock=time.perf_counter)


def _python(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)


REGISTRY: Registry = {
    "fit_vs_bare_loop": {"default": Case(fit_ratio, "<= 1.35")},
    "fit_overhead_ms": {"default": Case(fit_overhead, "<= 0.75")},
    "help_vs_import_torch": {
        "train": Case(partial(help_time, "train"), "<= 1.5"),
        "compare": Case(partial(help_time, "compare"), "<= 0.5"),
    },
}
