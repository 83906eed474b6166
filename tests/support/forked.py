"""Processes that begin with torch, lightning and the package imported: each is forked, when it is asked for, from one
that imported them once (the fork server of `multiprocessing`). Otherwise as a process of its own: its environment,
folder, group, signals and output are its own, and its exit code is the command's."""

from __future__ import annotations

import functools
import multiprocessing
import multiprocessing.context
import os
import signal
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterable, Mapping
from multiprocessing import forkserver
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from rnn_research.training.signals import STOPPING

IMPORTED = (
    "asked_once",
    "unsynced",
    "rnn_research.cli.train",
    "rnn_research.training.fit",
    "rnn_research.config.build",
    "rnn_research.config.run_one",
    "rnn_research.cli.sweep",
    "rnn_research.cli.overrides",
    "rnn_research.cells",
    "rnn_research.datasets.adding",
    "rnn_research.probes.adjoint",
    "rnn_research.unroll.compiled.updates",
    "hydra.main",
    "imported",
)
"""What a run needs: what is not here, each process imports for itself. The last says that this was all."""


class Forked:
    """A process that calls `function(*arguments)`, with the methods of `subprocess.Popen` that tests use. Both output
    streams go to a file.

    Args:
        function: one that can be imported by its name.
        folder: its current folder.
        env: its whole environment; None: this process's, with one torch thread.
        ignored: the signals of `STOPPING` that it ignores, as after nohup.
        out: the file that its output is added to; None: one of its own, for `communicate`.
    """

    def __init__(
        self,
        function: Callable[..., object],
        *arguments: Any,
        folder: Path,
        env: Mapping[str, str] | None = None,
        ignored: Iterable[int] = (),
        out: Path | None = None,
    ) -> None:
        if out is None:
            handle, name = tempfile.mkstemp(prefix="forked-")
            os.close(handle)
            out = Path(name)
            weakref.finalize(self, out.unlink, missing_ok=True)
        self.out = out
        environment = dict(os.environ) | {"OMP_NUM_THREADS": "1"} if env is None else dict(env)
        given = function, arguments, str(folder), environment, tuple(ignored), str(out)
        self._process = context().Process(target=_begin, args=given)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise TimeoutExpired("a forked process", timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Nothing, and what it wrote to both streams; once it has ended."""
        self.wait(timeout)
        return b"", self.out.read_bytes()


def begun(script: str, folder: Path, env: Mapping[str, str] | None = None) -> Forked:
    """A process that runs a Python script."""
    return Forked(_run, script, folder=folder, env=env)


def python(script: str, folder: Path, env: Mapping[str, str] | None = None) -> str:
    """What a Python script writes to both streams.

    Raises:
        AssertionError: it failed.
    """
    process = begun(script, folder, env)
    _, said = process.communicate(timeout=250)
    assert process.returncode == 0, said.decode()
    return said.decode()


def _run(script: str) -> None:
    exec(compile(script, "<script>", "exec"), {"__name__": "__main__"})


@functools.cache
def context() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))  # it passes over what it does not find
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return context


def heard(ignored: Iterable[int] = ()) -> None:
    """Before a process begins: it hears the signals that stop a run, also where a shell started the tests in the
    background (Ctrl-C is then ignored by all that come of it) or nohup did."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)


def _begin(
    function: Callable[..., object],
    arguments: tuple[Any, ...],
    folder: str,
    env: dict[str, str],
    ignored: tuple[int, ...],
    out: str,
) -> None:
    os.setpgid(0, 0)
    multiprocessing.set_start_method(None, force=True)  # its own children are forked, as they would be
    heard(ignored)
    if signal.SIGINT not in ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # as python does where it starts
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    file = os.open(out, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(file, stream.fileno())
    os.close(file)
    function(*arguments)
