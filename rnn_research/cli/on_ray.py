"""Workers on a cluster of Ray's that is there: each is a task, with the share of a node that it may have.

Ray places them; where a node is lost, others are started, and take up what its workers had.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from rnn_research.checks import number
from rnn_research.cli import telling
from rnn_research.cli.process import interruptible
from rnn_research.cli.remote import Lost
from rnn_research.cli.remote_worker import WorkerReport, work_elsewhere
from rnn_research.errors import UsageError
from rnn_research.sweeps.worker import Rules

TO_GREET = 5.0
"""Seconds that what listens at an address has to show that it may be a cluster."""
TO_ANSWER = 8.0
"""Seconds that a cluster has to answer, once it has."""
TO_BEGIN = 60.0
"""Likewise, one that is begun here."""
TO_STOP = 30.0
"""Seconds that workers have to write their checkpoints, before they are killed."""
FRAME, SETTINGS = 9, b"\4"
"""Bytes of the head of a frame of HTTP/2, and the fourth of them in the first frame, which both sides must send."""
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + SETTINGS + bytes(5)
PORTS = {"ray://": 10001, "": 6379}


@dataclass
class RayOptions:
    """Of `hydra/launcher=ray`.

    Attributes:
        workers: how many at most; auto: as many as the cluster has room for.
        address: `auto`, the cluster that this machine is part of; `HOST:PORT`; `ray://HOST:PORT`, through a client;
            `local`, one that is begun here and ends with the command.
        cpus: of each worker; a part of one too.
        gpus: likewise: with 0.25, four workers share a GPU.
        resources: others that a node must have for each worker, by name.
        runtime_env: Ray's, such as {env_vars: {...}}.
    """

    workers: int | str = "auto"
    address: str = "auto"
    cpus: float = 1
    gpus: float = 0
    resources: dict[str, float] = field(default_factory=dict)
    runtime_env: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, node: Any) -> RayOptions:
        """What a launcher's config says.

        Raises:
            UsageError: names the key that has another value than it may.
        """
        given: Any = OmegaConf.to_container(node, resolve=True)
        found = cls(**{one.name: given[one.name] for one in fields(cls) if one.name in given})
        try:
            for name in ("cpus", "gpus"):
                share = number(name, getattr(found, name), least=0.0)
                if share > 1 and share % 1:
                    raise ValueError(f"{name}: given {share:g}, expected a part of one, or an integer")
            for name, share in found.resources.items():
                number(f"resources.{name}", share, least=0.0)
            if not isinstance(found.address, str) or not found.address:
                raise ValueError(
                    f"address: given {found.address!r}, expected auto, HOST:PORT, ray://HOST:PORT or local"
                )
        except ValueError as error:
            raise UsageError(f"hydra.launcher.{error}") from None
        return found

    @property
    def wait(self) -> bool:
        """The command watches the workers: they end with its connection."""
        return True

    @property
    def wanted(self) -> dict[str, float]:
        """What a node must have for each worker."""
        return {"CPU": self.cpus, "GPU": self.gpus, **self.resources}

    @property
    def room(self) -> int:
        """How many workers the cluster has room for, that this process is connected to."""
        import ray  # pyright: ignore[reportMissingImports]

        there = ray.cluster_resources()
        return max(1, min((int(there.get(name, 0) / count) for name, count in self.wanted.items() if count), default=1))

    def connect(self) -> None:
        """Connect to the cluster.

        Raises:
            UsageError: none answers in time.
        """
        if self.address not in ("local", "auto"):
            check_answers(self.address)
        import ray  # pyright: ignore[reportMissingImports]

        if not ray.is_initialized():  # for the trials of a study before
            _initialise(self)

    def workers_on(self, folder: Path, rules: Rules) -> RayWorkers:
        """What starts workers on a sweep's folder."""
        return RayWorkers(folder, rules, self)


class RayWorkers:
    """Workers in tasks of Ray's, once this process is connected to a cluster.

    Args:
        folder: the sweep's, which every node sees.
        rules: what each worker does.
        options: of the launcher.
    """

    def __init__(self, folder: Path, rules: Rules, options: RayOptions) -> None:
        import ray  # pyright: ignore[reportMissingImports]

        self.ray, self.folder, self.rules, self.options = ray, folder, rules, options
        share = {"num_cpus": options.cpus, "num_gpus": options.gpus, "resources": options.resources or None}
        self.task = ray.remote(**share, max_retries=0, scheduling_strategy="SPREAD")(_work)
        self.tasks: list[Any] = []
        if not any(_has_room(node, options.wanted) for node in ray.nodes()):
            told = ", ".join(f"{count:g} {name}" for name, count in options.wanted.items() if count)
            telling.say(f"no node of the cluster has {told} for a worker; it waits until one has")

    def start(self, count: int) -> None:
        """Ask for so many."""
        self.tasks += [self.task.remote(str(self.folder), self.rules, os.getcwd()) for _ in range(count)]

    def ended(self) -> list[WorkerReport | Lost]:
        """Those whose tasks have ended since."""
        if not self.tasks:
            return []
        over, self.tasks = self.ray.wait(self.tasks, num_returns=len(self.tasks), timeout=0)
        return [self._end(task) for task in over]

    def _end(self, task: Any) -> WorkerReport | Lost:
        try:
            return self.ray.get(task)
        except Exception as error:  # Ray's: the node is gone, the process was killed; or what the task raised
            return Lost(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")

    @property
    def running(self) -> int:
        return len(self.tasks)

    def stop(self) -> None:
        """Interrupt the tasks, as Ctrl-C would."""
        for task in self.tasks:
            with contextlib.suppress(Exception):
                self.ray.cancel(task, force=False)
        if self.tasks:
            _, late = self.ray.wait(self.tasks, num_returns=len(self.tasks), timeout=TO_STOP)
            for task in late:
                with contextlib.suppress(Exception):
                    self.ray.cancel(task, force=True)
        self.tasks = []


def _work(folder: str, rules: Rules, current: str) -> WorkerReport:
    """The task. Ray cancels it as Ctrl-C would."""
    with contextlib.suppress(OSError):  # paths in configs may be relative
        os.chdir(current)
    with interruptible():
        return work_elsewhere(Path(folder), rules)


def _has_room(node: dict[str, Any], wanted: dict[str, float]) -> bool:
    return node["Alive"] and all(node["Resources"].get(name, 0) >= count for name, count in wanted.items())


def _initialise(options: RayOptions) -> None:
    local = options.address == "local"
    given: dict[str, Any] = {"runtime_env": options.runtime_env} if options.runtime_env else {}
    given |= {"include_dashboard": False} if local else {}
    failed, over = list[BaseException](), threading.Event()

    def begin() -> None:
        import ray  # pyright: ignore[reportMissingImports]

        try:
            ray.init(address=options.address, log_to_driver=False, logging_level="ERROR", **given)
        except BaseException as error:
            failed.append(error)
        over.set()
        if local:
            threading.Event().wait()  # the system ends the processes of a cluster with the thread that has begun them

    with _python_alone_writes_errors():
        threading.Thread(target=begin, daemon=True).start()
        over.wait(TO_BEGIN if local else TO_ANSWER)
        if over.is_set() and not failed:
            return
        why = " ".join(str(failed[0]).split())[:200] if failed else f"no answer within {TO_ANSWER:g} s"
        raise _unreachable(options.address, why)


@contextlib.contextmanager
def _python_alone_writes_errors() -> Iterator[None]:
    """Where Ray can't connect, its C++ writes lines to stderr, and goes on doing so while this process says its own and
    ends: these are left out."""
    if sys.stderr is not None:
        sys.stderr.flush()
    own, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # a notebook's has no number
            if sys.stderr is not None and sys.stderr.fileno() == 2:
                sys.stderr = os.fdopen(own, "w", buffering=1, errors="backslashreplace")
        raise
    os.dup2(own, 2)
    os.close(own)


def check_answers(address: str) -> None:
    """Raise a UsageError where nothing answers as a cluster would: Ray itself would try for a minute."""
    scheme = "ray://" if address.startswith("ray://") else ""
    host, colon, port = address.removeprefix(scheme).rpartition(":")
    if not colon:
        host, port = port, str(PORTS[scheme])
    if not host or not port.isdecimal() or int(port) > 65535 or "/" in host:
        raise _unreachable(address, "which is no address")
    why = [f"no answer within {TO_GREET:g} s"]

    def greet() -> None:
        try:
            why[0] = _greeted(host.strip("[]"), int(port))
        except OSError as error:
            why[0] = f"nothing answers there ({error})"

    thread = threading.Thread(target=greet, daemon=True)  # the system may look for a name for longer
    thread.start()
    thread.join(TO_GREET)
    if why[0]:
        raise _unreachable(address, why[0])


def _greeted(host: str, port: int) -> str:
    """What is wrong with what answers there; empty: it speaks HTTP/2, as all of Ray's servers do."""
    with socket.create_connection((host, port), timeout=TO_GREET) as line:
        if os.environ.get("RAY_USE_TLS", "0") == "1":
            return ""  # it waits for another greeting
        line.sendall(GREETING)
        answer = b""
        while len(answer) < FRAME and (part := line.recv(FRAME)):
            answer += part
    return "" if answer[3:4] == SETTINGS else "what answers there is no Ray"


def _unreachable(address: str, why: str) -> UsageError:
    return UsageError(
        f"hydra.launcher.address: given {address}, {why}; expected a cluster that runs, as auto, HOST:6379 or "
        "ray://HOST:10001 (ray start --head begins one), or local"
    )
