"""`rnn-train`, called by tests."""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import io
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from forked import Forked, context

from rnn_research.cli.train import main
from rnn_research.training.signals import STOPPING


def last(arguments: Iterable[str]) -> list[str]:
    """The arguments, with the last alone of those that give the same key another value: the command refuses two."""
    kept: dict[str, str] = {}
    for number, argument in enumerate(arguments):
        key, equals, _ = argument.partition("=")
        kept[key.lstrip("+") if equals and not argument.startswith(("-", "~")) else f"{number}"] = argument
    return list(kept.values())


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
LONG = tuple(last(LONG))
"""A run that ends when it is stopped."""
COMMAND = (sys.executable, "-m", "rnn_research.cli.train")


class Ended(NamedTuple):
    code: int
    out: str
    err: str


class Server:
    """A process that runs the command as often as it is asked to, each time as in a process of its own. Apart from this
    process: pytest's has type checks of its own (jaxtyping), which would find mistakes.

    Args:
        memory: the most bytes it may have; None: no limit.
    """

    def __init__(self, memory: int | None = None) -> None:
        self.memory = memory
        self.process: Forked | None = None

    def call(
        self,
        arguments: Iterable[object],
        folder: Path | None = None,
        seconds: float | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Ended:
        """The command in a folder (the current one), with further variables in its environment.

        Raises:
            TimeoutError: no answer came within so many seconds. The process is ended, and the next call has another.
            ConnectionError: the process died, likewise.
        """
        line = self._running()
        line.send((str(folder or Path.cwd()), [str(argument) for argument in arguments], dict(env or {})))
        try:
            if not line.poll(seconds):
                self.close()
                raise TimeoutError(f"no answer within {seconds} s")
            return Ended(*line.recv())
        except EOFError as error:
            assert self.process is not None
            code = self.process.wait()
            self.close()
            raise ConnectionError(f"ended with {code}") from error

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _running(self) -> Connection:
        if self.process is None:
            self.line, there = context().Pipe()
            self.process = Forked(_serve, there, self.memory, folder=Path.cwd(), out=Path(os.devnull))
            there.close()
        return self.line


def rnn_train(*arguments: object, env: Mapping[str, str] | None = None) -> Ended:
    """The command in the current folder, by a `Server` that all tests share. Of two values of one key the last counts,
    so that a test may change some of `SMALL`."""
    return server().call(last(map(str, arguments)), env=env)


@functools.cache
def server() -> Server:
    server = Server()
    atexit.register(server.close)
    return server


def _serve(calls: Connection, memory: int | None) -> None:
    import resource

    from rnn_research.cli.train import main

    gc.set_threshold(20_000, 50, 100)
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (memory, resource.RLIM_INFINITY))
    while True:
        try:
            folder, arguments, env = calls.recv()
        except EOFError:
            return
        os.chdir(folder)
        environment = dict(os.environ)
        os.environ.update(env)
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
        os.environ.clear()
        os.environ.update(environment)
        calls.send((code, out.getvalue(), err.getvalue()))


def _handlers() -> list[object]:
    return [signal.getsignal(number) for number in (*STOPPING, signal.SIGCHLD)]


@contextlib.contextmanager
def started(*arguments: str, folder: Path, out: Path | None = None, ignored: Iterable[int] = ()) -> Iterator[Forked]:
    """The command as a process in `folder`, leading its group; it hears the signals that are not `ignored`."""
    command = Forked(main, last(arguments), folder=folder, ignored=ignored, out=out)
    try:
        yield command
    finally:
        command.kill()
        command.wait()


def until(true: Callable[[], object], seconds: float = 200.0) -> None:
    """Wait until `true()`: on a machine that others keep busy a command takes a minute to start."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def rows(folder: Path) -> int:
    """Rows of metrics.csv, in whatever run there is below `folder`."""
    return sum(count - 1 for count in lines(folder))


def lines(folder: Path) -> list[int]:
    """The lines of each metrics.csv below `folder` that has some, while runs write there: what was just listed may be
    gone or be made anew."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for path in folder.rglob("metrics.csv"):
            with contextlib.suppress(FileNotFoundError):
                found.append(path.read_text().count("\n"))
    return [count for count in found if count]


def slowed() -> float:
    """How many times longer a process takes now than on a machine of its own, about."""
    return max(1.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))


def hears(pid: int, number: int = signal.SIGTERM) -> bool:
    """Whether a process answers a signal by code of its own: the command does so from its first line on, and python
    itself only SIGINT."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False
