"""Runs of a sweep whose options can't work together, found before anything is trained: for `dry_run=true`.

Only the live parts tell, so one is built of each combination; where all options are such as work with any other,
nothing is imported. What data have to be fetched is left to the run itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rnn_research.cli import telling
from rnn_research.config.compose import in_hydra
from rnn_research.config.groups import CONF
from rnn_research.config.option_text import option_path, stage_of
from rnn_research.config.queue import AnyRun, values_of
from rnn_research.config.short_keys import names
from rnn_research.errors import Incompatible
from rnn_research.sweeps.store import QueuedRun

SECONDS = 3.0
"""That building may take; combinations that come later are not looked at."""
GRAPH = "the graph"
"""The stage of strategies that ask for a chain, a tree, or a state of their own."""
SAME = ("seed", "threads", "logger", "optimizer")
"""Parts of a config on which it does not depend what works together."""


def unworkable(runs: Sequence[QueuedRun], composed: Mapping[str, AnyRun]) -> dict[str, Incompatible]:
    """Why runs would be left out, by digest, as far as that can be told in time; what was not looked at is said."""
    reasons, known = dict[str, Incompatible](), dict[str, Incompatible | None]()
    end, late = None, 0
    for run in runs:
        spec = composed[run.digest]
        values = values_of(spec)
        if not _may_clash(spec, values) or _is_fetched(values):
            continue
        key = json.dumps({name: value for name, value in values.items() if name not in SAME}, sort_keys=True)
        if key not in known:
            if end is not None and time.monotonic() > end:
                late += 1
                continue
            known[key] = _reason(spec)
            end = end or time.monotonic() + SECONDS  # the first has imported what all need
        if (reason := known[key]) is not None:
            reasons[run.digest] = reason
    if late:
        telling.say(f"whether the options of {late} further runs work together was not looked at, for time")
    return reasons


def _may_clash(spec: AnyRun, values: Mapping[str, Any]) -> bool:
    choices, folders = spec.choices, (CONF, *spec.folders)
    if choices.get("structure") == "parse" or choices.get("architecture", "auto") != "auto":
        return True
    if values.get("engine") != "auto" or names(values, "regularizer", choices) not in ([], ["none"]):
        return True
    return any(_acts_on_graph(option, folders) for option in names(values, "clipping", choices))


def _acts_on_graph(option: str, folders: tuple[Path, ...]) -> bool:
    path = option_path("clipping", option, list(folders))
    return path is not None and stage_of(path) == GRAPH


def _is_fetched(values: Mapping[str, Any]) -> bool:
    """Whether the data are downloaded where they are not there."""
    return "cache" in (values.get("dataset") or {})


def _reason(spec: AnyRun) -> Incompatible | None:
    from rnn_research.config.build import build

    try:
        with in_hydra(spec.config):
            build(spec.task, spec.folders)
    except Incompatible as error:
        return error
    except Exception:  # the run itself says it
        return None
    return None
