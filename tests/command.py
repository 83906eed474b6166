"""`rnn-train`, called by tests."""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

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


def rnn_train(*arguments: object) -> Ended:
    """The command in the current folder, as in a process of its own: but one imports torch for all calls."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(json.dumps([os.getcwd(), [str(argument) for argument in arguments]]) + "\n")
    server.stdin.flush()
    return Ended(*json.loads(server.stdout.readline()))


@functools.cache
def _server() -> subprocess.Popen[str]:
    """Apart from this process: pytest's has type checks of its own (jaxtyping), which would find mistakes first."""
    command = [sys.executable, __file__]
    server = subprocess.Popen(command, text=True, process_group=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    atexit.register(server.kill)
    return server


def _serve() -> None:
    from rnn_research.train import main

    calls, answers = sys.stdin, sys.stdout
    for call in calls:
        folder, arguments = json.loads(call)
        os.chdir(folder)
        out, err = io.StringIO(), io.StringIO()
        code: object = None
        before = _handlers()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main(arguments)
            except SystemExit as ended:
                code = ended.code
                assert _handlers() == before
            except BaseException:
                traceback.print_exc()
                code = None
        print(json.dumps([code, out.getvalue(), err.getvalue()]), file=answers, flush=True)


def _handlers() -> list[object]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]


@contextlib.contextmanager
def started(*arguments: str, folder: Path, out: Any = None) -> Iterator[subprocess.Popen[bytes]]:
    """The command as a process, in `folder`, leading a group of its own. Given no file for its output, `stderr` is a
    pipe."""
    command = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        process_group=0,
        stdout=out,
        stderr=subprocess.PIPE if out is None else out,
    )
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


if __name__ == "__main__":
    _serve()
