"""Runs of a sweep as plain values, and those that differ from one that was composed in plain values alone, as in
`seed=0,1,2`.

A config of OmegaConf's takes ms to copy, to read and to write, even where nothing is composed (`composed_options`). Of
runs that choose the same options one is read; of the others what a sweep needs (the values, the folder's name) is that
one's with other values in it, in a tenth of the time. Whatever is not plain is composed: values that others refer to in
part, lists, added keys.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rnn_research.config.compose import ComposedRun, Composer
from rnn_research.config.environment import recorded
from rnn_research.config.parsed_overrides import parsed
from rnn_research.config.short_keys import INFINITE
from rnn_research.records.runs import plain

ABSENT = object()
OF_HYDRA = ("mode", "run", "sweep", "job", "runtime", "overrides", "verbose", "output_subdir")
"""The parts of Hydra's config that a run may refer to."""
REFERENCE = re.compile(r"\$\{([^{}]*)\}")


def as_plain(spec: ComposedRun) -> dict[str, Any]:
    """A composed run as plain values, unresolved."""
    hydra = OmegaConf.masked_copy(spec.config.hydra, list(OF_HYDRA))
    return {
        "config": _without_hydra(OmegaConf.to_container(spec.config, resolve=False)),
        "hydra": OmegaConf.to_container(hydra, resolve=False, enum_to_str=True),
        "overrides": list(spec.overrides),
        "long": list(spec.long),
        "folders": [str(folder) for folder in spec.folders],
    }


def values_of_run(spec: ComposedRun) -> Any:
    """All values of a run's config, resolved; unresolved where that can't be done, which the run itself will say."""
    unresolved = _without_hydra(OmegaConf.to_container(spec.config, resolve=False))
    refers = any("${hydra" in text or "${." in text for _, text in _texts(unresolved))  # a copy has no Hydra
    try:
        return plain(recorded(spec.task) if refers else _without_hydra(recorded(spec.config, ("hydra",))))
    except OmegaConfBaseException:
        return plain(unresolved)


def _without_hydra(values: Any) -> Any:
    return {key: value for key, value in values.items() if key != "hydra"}


@dataclass
class SimilarRun:
    """A run like `first`, with other values of some keys. Has what a `ComposedRun` has; composed where that is asked.

    Attributes:
        first: a composed run with the same options.
        overrides: as they were typed.
        long: the same with short keys written out.
        changed: the values that differ, by dotted key.
    """

    first: Family
    overrides: tuple[str, ...]
    long: tuple[str, ...]
    changed: dict[str, Any]
    composer: Composer = field(repr=False)
    number: int = 0

    @property
    def folders(self) -> tuple[Path, ...]:
        return self.first.run.folders

    @cached_property
    def composed(self) -> ComposedRun:
        """The run as Hydra composes it."""
        if not self.changed and self.overrides == self.first.run.overrides:
            return self.first.run.numbered(self.number)
        return self.composer.run(self.overrides).numbered(self.number)

    @property
    def config(self) -> DictConfig:
        return self.composed.config

    @property
    def task(self) -> DictConfig:
        return self.composed.task

    @property
    def choices(self) -> dict[str, str]:
        return self.first.run.choices

    @property
    def typed(self) -> list[str]:
        return [text for text in self.overrides if not text.lstrip("+~").startswith(("hydra.", "hydra/"))]

    def numbered(self, number: int) -> SimilarRun:
        """Return the run as one of a sweep."""
        self.number = number
        return self

    def values(self) -> Any:
        """As `values_of_run`."""
        return self._with_values(self.first.values, self.first.referring)

    def plain(self, name: str) -> dict[str, Any]:
        """As `as_plain`, for a run whose folder is named by `name`."""
        found = {**self.first.plain, "config": self._with_values(self.first.plain["config"], {})}
        hydra = copy.deepcopy(found["hydra"])
        hydra["job"] |= {"num": self.number, "id": name}
        if self.changed:
            of_task = [text for text in self.long if not text.lstrip("+~").startswith(("hydra.", "hydra/"))]
            hydra["overrides"]["task"] = of_task
            hydra["job"]["override_dirname"] = ",".join(sorted(of_task))
        return {**found, "hydra": hydra, "overrides": list(self.overrides), "long": list(self.long)}

    def folder(self, name: str) -> str | None:
        """Where the run lies within its sweep's folder; None where that has to be composed."""
        values, run = self.values(), self.first.run

        def known(match: re.Match[str]) -> str:
            key = match[1]
            if key in ("hydra:job.num", "hydra:job.id"):
                return str(self.number) if key.endswith("num") else name
            if key.startswith("hydra:runtime.choices."):
                return run.choices[key.removeprefix("hydra:runtime.choices.")]
            if key == "strategies:":
                return self.first.strategies
            found = _select(values, key)
            if found is None or isinstance(found, dict | list) or found is ABSENT:
                raise LookupError(key)
            return str(found)

        try:
            return REFERENCE.sub(known, self.first.subdir)
        except LookupError:
            return None

    def _with_values(self, config: Any, referring: dict[str, list[str]]) -> Any:
        """A config with the values that differ. Shares the rest with the first run's: nobody changes it."""
        for key, value in self.changed.items():
            for place in (key, *referring.get(key, ())):
                config = _replaced(config, place.split("."), value)
        return config


@dataclass
class Family:
    """A composed run, and what is derived from it once for all that are similar."""

    run: ComposedRun

    @cached_property
    def values(self) -> Any:
        return values_of_run(self.run)

    @cached_property
    def plain(self) -> dict[str, Any]:
        return as_plain(self.run)

    @cached_property
    def subdir(self) -> str:
        """The folder's name as it is written."""
        return str(self.plain["hydra"]["sweep"]["subdir"])

    @cached_property
    def strategies(self) -> str:
        from rnn_research.config.short_keys import names

        return "+".join(names(self.run.config, "clipping", self.run.config.hydra.runtime.choices))

    @cached_property
    def referring(self) -> dict[str, list[str]]:
        """Keys whose value is another's: `${seed}`. By the key that they refer to."""
        found: dict[str, list[str]] = {}
        for place, text in _texts(self.plain["config"]):
            if (match := REFERENCE.fullmatch(text)) and "." not in match[1][:1] and not place.endswith("[]"):
                found.setdefault(match[1], []).append(place)
        return found

    @cached_property
    def mentioned(self) -> set[str]:
        """Words in references that are more than another key's value."""
        texts = [text for _, text in _texts(self.plain["config"]) if "${" in text]
        whole = {_select(self.plain["config"], place) for places in self.referring.values() for place in places}
        others = [text for text in texts if text not in whole or ":" in text]
        return {word for text in others for word in re.findall(r"\w+", text)}

    def may_change(self, key: str) -> bool:
        """Whether another plain value of a key changes it alone, and those that are it."""
        there = _select(self.plain["config"], key)
        if not isinstance(there, bool | int | float | str) or "${" in str(there) or "_target_" in key:
            return False
        chained = any(place in self.referring for place in self.referring.get(key, ()))
        return key.rpartition(".")[2] not in self.mentioned and not chained


def all_runs(composer: Composer, jobs: Sequence[Sequence[str]]) -> list[ComposedRun]:
    """The runs of a sweep, numbered: each shape of override is composed once.

    Raises as `Composer.run`.
    """
    families: dict[tuple[str, ...], Family] = {}
    runs: list[Any] = []
    for number, job in enumerate(jobs):
        shape = tuple(_shape(text) for text in job)
        family = families.get(shape)
        found: Any = None if family is None else _similar(family, tuple(job), composer)
        if found is None:
            composed = Family(composer.run(job))
            families.setdefault(shape, composed)
            found = SimilarRun(composed, composed.run.overrides, composed.run.long, {}, composer)
        runs.append(found.numbered(number))
    return runs


def _similar(family: Family, job: tuple[str, ...], composer: Composer) -> SimilarRun | None:
    """The run, where it differs from the family's first in plain values alone."""
    first = family.run
    if len(first.long) != len(job):
        return None
    long, changed = list(first.long), dict[str, Any]()
    for place, (text, before) in enumerate(zip(job, first.overrides, strict=True)):
        if text == before:
            continue
        key = first.long[place].partition("=")[0]
        if not family.may_change(key):
            return None
        long[place], changed[key] = f"{key}={text.partition('=')[2]}", _scalar(text)
    return SimilarRun(family, job, tuple(long), changed, composer)


def _shape(text: str) -> str:
    """An override without its value, where that is plain."""
    return text if _scalar(text) is ABSENT else text.partition("=")[0] + "="


@lru_cache(maxsize=100_000)
def _scalar(text: str) -> Any:
    """The plain value that an override gives; `ABSENT` where it does something else."""
    key, _, value = text.partition("=")
    if not re.fullmatch(r"[\w.]+", key) or key.startswith("hydra") or key in ("trust", "resume") or "${" in value:
        return ABSENT
    if INFINITE.search(value):
        return ABSENT
    override = parsed(text)
    if override is None or override.is_sweep_override() or override.is_delete() or override.is_add():
        return ABSENT
    found = override.value()
    option = isinstance(found, str) and "." not in key  # of a group, perhaps
    return found if isinstance(found, bool | int | float | str) and not option else ABSENT


def _select(config: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(config, dict) or part not in config:
            return ABSENT
        config = config[part]
    return config


def _replaced(config: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    inner = value if len(path) == 1 else _replaced(config[path[0]], path[1:], value)
    return {**config, path[0]: inner}


def _texts(config: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """All texts in a config with their keys; those in lists under their list's key with a sign that is in none."""
    if isinstance(config, dict):
        for key, value in config.items():
            yield from _texts(value, f"{place}.{key}" if place else str(key))
    elif isinstance(config, list):
        for value in config:
            yield from ((f"{place}[]", text) for _, text in _texts(value))
    elif isinstance(config, str):
        yield place, config
