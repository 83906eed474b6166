"""The runs that a command line asks for: one, or every combination of the values of a sweep."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from rnn_research.config.compose import ComposedRun, Composer
from rnn_research.config.parsed_overrides import parsed
from rnn_research.config.similar import all_runs
from rnn_research.errors import UsageError


@dataclass(frozen=True)
class Plan:
    """The runs to come, each composed.

    Attributes:
        sweep: whether they are a sweep, which may have one run.
    """

    runs: list[ComposedRun]
    sweep: bool


def plan(composer: Composer, overrides: Sequence[str], multirun: bool, zipped: Sequence[Sequence[str]] = ()) -> Plan:
    """Return the runs that the overrides ask for. All are composed, so that mistakes are found before the first.

    Args:
        multirun: the command line says that they are a sweep; an experiment may say so too.
        zipped: keys whose values are taken together, the first of each, the second of each.

    Raises:
        UsageError: keys to be zipped are not swept, or have different numbers of values; a sweep has no run; a folder
            is given that has no effect.
        HydraException: what Hydra says of the overrides.
    """
    read = [parsed(text) for text in overrides]
    if not multirun and not any(override is not None and override.is_sweep_override() for override in read):
        single = composer.run(overrides)
        if not _sweeps(single.config):
            _check_folder(
                overrides, "hydra.sweep.dir", "one run, which lies in hydra.run.dir=FOLDER (-m makes a sweep)"
            )
            return Plan([single], sweep=False)
    jobs = []
    for text in _experiments(overrides, read):
        base = composer.compose([item for item in text if _chooses(item)])
        if not multirun and not _sweeps(base):
            composer.run(overrides)  # Hydra says that several values need -m
        jobs += _jobs(text, base, zipped)
    if not jobs:
        raise UsageError("a sweep of no runs: one of its keys has no values; expected some, as seed=0,1,2")
    _check_folder(overrides, "hydra.run.dir", "a sweep, whose runs lie in hydra.sweep.dir=FOLDER")
    return Plan(all_runs(composer, jobs), sweep=True)


def _sweeps(config: DictConfig) -> bool:
    mode = config.hydra.mode
    return mode is not None and mode.name == "MULTIRUN"


def _experiments(overrides: Sequence[str], read: Sequence[Override | None]) -> Iterator[list[str]]:
    """The overrides for each experiment that is swept over; each has a sweep of its own."""
    for number, override in enumerate(read):
        if override is not None and override.key_or_group == "experiment" and override.is_sweep_override():
            for value in override.sweep_string_iterator():
                yield [*overrides[:number], f"experiment={value}", *overrides[number + 1 :]]
            return
    yield list(overrides)


def _chooses(text: str) -> bool:
    """Whether an override says what is swept, and not one value: an option, or a key of Hydra's."""
    override = parsed(text)
    if override is None:
        return True
    key = override.key_or_group
    return not override.is_sweep_override() and ("." not in key or key.startswith("hydra."))


def _jobs(overrides: Sequence[str], base: DictConfig, zipped: Sequence[Sequence[str]] = ()) -> list[list[str]]:
    """Every combination: what the config sweeps, unless it is given, and what is given."""
    given = {text.partition("=")[0].lstrip("+~") for text in overrides}
    params: Any = OmegaConf.to_container(base.hydra.sweeper, resolve=False).get("params") or {}  # type: ignore[union-attr]
    swept = [f"{key}={_text(value)}" for key, value in params.items() if str(key).lstrip("+~") not in given]
    columns = [[[text] for text in _each(given)] for given in (*swept, *overrides)]
    for keys in zipped:
        columns = _zipped(columns, keys)
    return [[text for part in job for text in part] for job in itertools.product(*columns)]


def _zipped(columns: list[list[list[str]]], keys: Sequence[str]) -> list[list[list[str]]]:
    """The columns of values, with those of the keys as one that stands where the first of them stood."""
    names = [column[0][0].partition("=")[0].lstrip("+~") for column in columns]
    if missing := [key for key in keys if key not in names or len(columns[names.index(key)]) < 2]:
        raise UsageError(f"zip: given {','.join(keys)}, but {missing[0]} has not several values; give it some")
    places = [names.index(key) for key in keys]
    counts = [len(columns[place]) for place in places]
    if len(set(counts)) > 1:
        told = ", ".join(f"{key} has {count}" for key, count in zip(keys, counts, strict=True))
        raise UsageError(f"zip: {told} values; expected as many of each")
    together = [
        [text for part in parts for text in part] for parts in zip(*(columns[at] for at in places), strict=True)
    ]
    kept = [together if place == min(places) else column for place, column in enumerate(columns)]
    return [column for place, column in enumerate(kept) if place == min(places) or place not in places]


def _each(text: str) -> list[str]:
    """An override for each of its values."""
    override = parsed(text)
    if override is None or not override.is_sweep_override():
        return [text]
    key = override.get_key_element()
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _text(value: Any, inner: bool = False) -> str:
    """A value of a yaml as it is typed. A list there is one of values to sweep over; a list in it is one value."""
    if isinstance(value, list):
        items = ",".join(_text(item, inner=True) for item in value)
        return f"[{items}]" if inner else items
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{_text(item, inner=True)}' for key, item in value.items())}}}"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


def _check_folder(overrides: Sequence[str], key: str, what: str) -> None:
    if any(text.lstrip("+").startswith(f"{key}=") for text in overrides):
        raise UsageError(f"{key}: given, but this is {what}")
