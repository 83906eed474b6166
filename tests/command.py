"""`rnn-train`, called by tests: in this process, which imports torch once, or as a command of its own."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

SMALL = (
    "dataset=adding",
    "dataset.length=10",
    "dataset.train_size=24",
    "dataset.val_size=8",
    "dataset.test_size=8",
    "dataset.batch_size=4",
    "model.cell.hidden_size=4",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=-1",
    "trainer.max_steps=3",
)
"""A run of a moment."""
LONG = (*SMALL, "dataset.train_size=400", "trainer.max_steps=1000000", "trainer.check_val_every_n_epoch=1000000")
"""A run that ends when it is stopped."""
COMMAND = (sys.executable, "-m", "rnn_research.train")


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def rnn_train(*arguments: str) -> Ended:
    """The command, in this process and the current folder."""
    from rnn_research.train import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = ended.code
    assert isinstance(code, int)
    return Ended(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def started(*arguments: str, folder: Path, **streams: object) -> Iterator[subprocess.Popen[bytes]]:
    """The command as a process, in `folder`, leading a group of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = subprocess.Popen([*COMMAND, *arguments], cwd=folder, env=environment, process_group=0, **streams)  # type: ignore[call-overload]
    try:
        yield command
    finally:
        if command.poll() is None:
            command.kill()
        command.wait()


def until(true: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until `true()`."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def rows(folder: Path) -> int:
    """Rows of metrics.csv, in whatever run there is below `folder`."""
    return sum(path.read_text().count("\n") - 1 for path in folder.rglob("metrics.csv") if path.stat().st_size)
