"""The queue that a sweep's folder is: the runs to do, each named by what it trains, and the state of each.

    FOLDER/queue/<digest>.json    a run to do: written once, before it starts
    FOLDER/<run's own folder>/    what the run leaves; its state is the `status` of its record

A run to do is created exclusively under its digest, so that two commands that ask for the same training add it once.
Folders are relative to the sweep's: it can be moved and copied. Nothing here is executed: a config is plain values.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rnn_research.records import runs, whole_file
from rnn_research.sweeps import claims
from rnn_research.sweeps.observer import Observer

QUEUE = "queue"
VERSION = 1
FAILURES = ".failures"
"""In a run's folder: a byte for each time that it failed."""
STATES = ("pending", "running", "done", "failed", "diverged", "interrupted")
FINAL = ("done", "diverged")
"""States after which nothing is left to do."""


class DamagedQueue(ValueError):
    """A run to do that can't be read: the message names the file, what is wrong, and the repair."""


@dataclass(frozen=True)
class QueuedRun:
    """A run to do.

    Attributes:
        sweep: the sweep's folder.
        digest: of what it trains; see `records.identity.digest`.
        name: its own folder, within the sweep's.
        number: its place in the sweep that asked for it first.
        label: what was typed for it.
        other: the digest without the limits of training, which a longer run shares.
        extends: the folder, within the sweep's, of a shorter run that is done: this one goes on from it.
        prune: of a study's trial, when it ends before its limits; see `training.spec.Pruning`.
    """

    sweep: Path = field(repr=False)
    digest: str
    name: str
    number: int
    label: str
    other: str = ""
    extends: str = ""
    prune: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    @property
    def folder(self) -> Path:
        """Where the run lies."""
        return self.sweep / self.name

    @property
    def path(self) -> Path:
        """Where it is written that the run is to be done."""
        return self.sweep / QUEUE / f"{self.digest}.json"

    def spec(self) -> dict[str, Any]:
        """What is to be trained, as plain values.

        Raises:
            DamagedQueue: it can't be read.
        """
        with reading(self.path):
            return json.loads(whole_file.text(self.path, runs.LARGEST).split("\n")[1])


def add(run: QueuedRun, spec: Mapping[str, Any]) -> bool:
    """Write that a run is to be done, where it is not written yet. Returns whether it was not."""
    head = {"version": VERSION, "folder": run.name, "number": run.number, "label": run.label, "other": run.other}
    head |= {"extends": run.extends} if run.extends else {}
    head |= {"prune": run.prune} if run.prune else {}
    text = f"{json.dumps(head)}\n{json.dumps(runs.plain(dict(spec)))}\n"
    run.path.parent.mkdir(parents=True, exist_ok=True)
    temporary = run.path.with_name(f".{run.path.name}.{secrets.token_hex(8)}")
    try:
        temporary.write_text(text, encoding="utf-8")
        try:
            os.link(temporary, run.path)
        except FileExistsError:
            with contextlib.suppress(DamagedQueue):
                _read(run.sweep, run.path)
                return False
            os.replace(temporary, run.path)  # cut short by a loss of power
        except OSError:  # a file system without links
            if run.path.exists():
                return False
            os.replace(temporary, run.path)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def remove(run: QueuedRun) -> None:
    """Take a run out of the queue, and the queue's folder where it was the last."""
    run.path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        run.path.parent.rmdir()


def listed(sweep: Path) -> list[QueuedRun]:
    """The runs of a sweep's folder in the order of their numbers.

    Raises:
        DamagedQueue: one can't be read, or is of a newer version.
    """
    try:
        names = [entry.path for entry in os.scandir(sweep / QUEUE) if entry.name.endswith(".json")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [_read(sweep, Path(path)) for path in names if not os.path.basename(path).startswith(".")]
    return sorted(found, key=lambda run: (run.number, run.name))


def _read(sweep: Path, path: Path) -> QueuedRun:
    with reading(path):
        with whole_file.opened(path) as file:
            head = json.loads(file.readline(1 << 20).decode("utf-8"))
        version = head["version"]
        if version == VERSION:
            name, extends = (_within(str(head.get(key, ""))) for key in ("folder", "extends"))
            label, other = str(head["label"]), str(head.get("other", ""))
            if not name:
                raise ValueError("no folder")
            prune = _pruning(head["prune"]) if "prune" in head else None
            return QueuedRun(sweep, path.stem, name, int(head["number"]), label, other, extends, prune)
    raise DamagedQueue(f"{path}: version {version!r} of a queue, this rnn_research reads {VERSION}; use a newer one")


def _pruning(given: Any) -> dict[str, Any]:
    """When a trial ends, as a queue has it; raises where it is something else."""
    bounds = {int(step): float(value) for step, value in given["bounds"].items()}
    return {"metric": str(given["metric"]), "maximised": bool(given["maximised"]), "bounds": bounds}


def _within(given: str) -> str:
    """A folder within the sweep's, as the queue names it.

    Raises:
        ValueError: it lies outside.
    """
    name = Path(given)
    os.fsencode(name)  # a ValueError where no file can be called so
    if given and (name.is_absolute() or ".." in name.parts or name == Path(".")):
        raise ValueError(f"a folder outside the sweep's, {name}")
    return str(name) if given else ""


@contextlib.contextmanager
def reading(path: Path, *further: type[Exception]) -> Iterator[None]:
    """Meanwhile, that a file of the queue holds something else than was written is told as such.

    Args:
        further: what else is raised where it does.

    Raises:
        DamagedQueue: it does.
    """
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, *further) as e:
        raise DamagedQueue(f"{path}: damaged ({e}); remove it, and start the sweep's command again") from None


def state(run: QueuedRun, observer: Observer | None = None) -> str:
    """The state of a run: that of its record, where nobody has the run's folder.

    Raises:
        DamagedRecord: the record can't be read.
    """
    found = recorded(run.folder)
    if found in FINAL or found == "failed":
        return found
    if claims.holder(run.folder, observer):
        return "running"
    return "interrupted" if found == "running" else found


def recorded(folder: Path) -> str:
    """The status in a run's record, `pending` where it has none; fast, for thousands.

    Raises:
        DamagedRecord: the record can't be read.
    """
    try:
        raw = json.loads(whole_file.content(folder / runs.RECORD, runs.LARGEST))
        if raw["status"] in runs.STATUSES and raw["version"] in (1, runs.VERSION):
            return raw["status"]
    except (FileNotFoundError, NotADirectoryError):
        return "pending"
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        pass
    return runs.read(folder).status  # says what is wrong


def progress(folder: Path) -> str:
    """A text that changes whenever a run has left something to go on from."""
    with contextlib.suppress(OSError):
        found = (folder / runs.CHECKPOINT).stat()
        return f"{found.st_size}-{found.st_mtime_ns}"
    return "start"


def failures(folder: Path) -> int:
    """How often a run failed."""
    with contextlib.suppress(OSError):
        return (folder / FAILURES).stat().st_size
    return 0


def note_failure(folder: Path) -> None:
    """Count one more."""
    with contextlib.suppress(OSError), (folder / FAILURES).open("ab") as file:
        file.write(b"x")
