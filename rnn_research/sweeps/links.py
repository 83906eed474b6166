"""Links in a sweep's folder: it may be a stranger's, and what is written or removed by way of a link lies elsewhere.

The sweep's own folder may be reached by links: it is what the user typed.
"""

from __future__ import annotations

import os
from pathlib import Path

from rnn_research.errors import UsageError
from rnn_research.sweeps.store import QUEUE, QueuedRun


def check_way(run: QueuedRun) -> None:
    """Neither the run's folder is a link, nor one on the way there from the sweep's, nor the queue's.

    Raises:
        UsageError: one is; nothing was done.
    """
    above = [run.sweep / part for part in (Path(run.name), *Path(run.name).parents)]
    for path in (*above[:-1], run.sweep / QUEUE, run.path):
        if path.is_symlink():
            raise UsageError(
                f"{path}: is a link, expected a sweep's own folders and files, without links; put in its place what it "
                "leads to, or remove it"
            )


def check_inside(run: QueuedRun) -> None:
    """The same, and nothing in the run's folder is a link that leads out of it.

    Raises:
        UsageError: it is.
    """
    check_way(run)
    top = os.path.realpath(run.folder)
    for at, folders, files in os.walk(run.folder):
        for path in (os.path.join(at, name) for name in (*folders, *files)):
            if os.path.islink(path) and os.path.commonpath((top, os.path.realpath(path))) != top:
                raise UsageError(
                    f"{path}: is a link out of the run's folder, expected none there; put in its place what it leads "
                    f"to, or remove it"
                )
