"""`rnn-train`, called by tests."""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple


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
COMMAND = (sys.executable, "-m", "rnn_research.train")

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(NamedTuple):
    code: int
    out: str
    err: str


class Server:
    """A process that runs the command as often as it is asked to, each time as in a process of its own: but one imports
    torch for all. Apart from this process: pytest's has type checks of its own (jaxtyping), which would find mistakes.

    Args:
        memory: the most bytes it may have; None: no limit.
    """

    def __init__(self, memory: int | None = None) -> None:
        self.memory = memory
        self.process: subprocess.Popen[bytes] | None = None

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
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        asked = [str(folder or Path.cwd()), [str(argument) for argument in arguments], dict(env or {})]
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], seconds)[0]:
            self.close()
            raise TimeoutError(f"no answer within {seconds} s")
        answer = process.stdout.readline()
        if not answer:
            self.close()
            raise ConnectionError(f"ended with {process.returncode}")
        return Ended(*json.loads(answer))

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            command = [sys.executable, __file__, *([str(self.memory)] if self.memory else [])]
            self.process = subprocess.Popen(command, process_group=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self.process


def rnn_train(*arguments: object, env: Mapping[str, str] | None = None) -> Ended:
    """The command in the current folder, by a `Server` that all tests share. Of two values of one key the last counts,
    so that a test may change some of `SMALL`."""
    return server().call(last(map(str, arguments)), env=env)


@functools.cache
def server() -> Server:
    server = Server()
    atexit.register(server.close)
    return server


def _serve() -> None:
    import resource

    if len(sys.argv) > 1:
        resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]), resource.RLIM_INFINITY))
    from rnn_research.train import main

    calls, answers = sys.stdin, sys.stdout
    for call in calls:
        folder, arguments, env = json.loads(call)
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
        print(json.dumps([code, out.getvalue(), err.getvalue()]), file=answers, flush=True)


def _handlers() -> list[object]:
    return [signal.getsignal(number) for number in (*STOPPING, signal.SIGCHLD)]


@contextlib.contextmanager
def started(
    *arguments: str, folder: Path, out: Any = None, ignored: Iterable[int] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """The command as a process, in `folder`, leading a group of its own; it hears the signals that are not `ignored`.
    Given no file for its output, `stderr` is a pipe."""
    command = subprocess.Popen(
        [*COMMAND, *last(arguments)],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        process_group=0,
        preexec_fn=functools.partial(heard, ignored),
        stdout=out,
        stderr=subprocess.PIPE if out is None else out,
    )
    try:
        yield command
    finally:
        if command.poll() is None:
            command.kill()
        command.wait()


def heard(ignored: Iterable[int] = ()) -> None:
    """Before a process begins: it hears the signals that stop a run, also where a shell started the tests in the
    background (Ctrl-C is then ignored by all that come of it) or nohup did."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)


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
