"""From overrides to a composed config, by Hydra's `compose`: nothing that stands in a config runs.

A `Composer` knows the folders of one command. It writes short keys out by the options that are chosen in the very
config that it composes. Hydra composes each choice of options once (`composed_options`), however many runs have it.
"""

from __future__ import annotations

import functools
import re
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from rnn_research.config.composed_options import ComposedOptions, read_typed, with_values
from rnn_research.config.counterfactual_keys import expand
from rnn_research.config.groups import CONF
from rnn_research.config.kept_yamls import KeptYamls, as_files, keep
from rnn_research.config.parsed_overrides import parsed
from rnn_research.config.short_keys import needs_options, register, written_out
from rnn_research.config.untrusted_yamls import ALLOWED, check_environment, check_hydra, check_swept, check_trust
from rnn_research.errors import UsageError

PRIMARY = "train"
"""The config that all options are put into: conf/train.yaml."""
ANYBODYS = tuple(f"hydra.{key}" for key in ALLOWED)
"""The starts of overrides of Hydra's keys that need no look."""
_of_the_package = ComposedOptions(CONF)
"""The project's own options, for all commands of this process."""
_one_at_a_time = threading.RLock()
"""Hydra keeps its state in the process."""


@dataclass(frozen=True)
class ComposedRun:
    """All that one training is made from: it can be pickled, and is the same in any process.

    Attributes:
        config: composed, with Hydra's part, unresolved.
        overrides: as they were typed.
        long: the same with short keys written out, as Hydra reads them.
        folders: the user's config folders; what is defined in files there may be a `_target_`.
    """

    config: DictConfig
    overrides: tuple[str, ...] = ()
    long: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()

    @property
    def typed(self) -> list[str]:
        """The overrides but those of Hydra's own keys: they say where a run lies, and not what it trains."""
        return [text for text in self.overrides if not text.lstrip("+~").startswith(("hydra.", "hydra/"))]

    @property
    def task(self) -> DictConfig:
        """The config without Hydra's part."""
        return OmegaConf.masked_copy(self.config, [str(key) for key in self.config if key != "hydra"])

    @property
    def choices(self) -> dict[str, str]:
        """The chosen option of each group."""
        found = self.config.hydra.runtime.choices
        return {str(key): str(value) for key, value in found.items() if value is not None}

    def folder(self, swept: bool = False) -> str:
        """Return where the run lies, as the config says: of a sweep, within the sweep's folder."""
        with in_hydra(self.config):
            return str(self.config.hydra.sweep.subdir if swept else self.config.hydra.run.dir)

    def numbered(self, number: int) -> ComposedRun:
        """Return the run as one of a sweep, which may name its folder by its number."""
        with read_write(self.config.hydra), open_dict(self.config.hydra):
            self.config.hydra.job.num = number
        return self


@dataclass
class Composer:
    """Composes the configs of one command.

    Args:
        folders: the user's, whose options come before the project's own. Their yamls are read once.
        given: the command line's overrides, which alone say what is trusted.
    """

    folders: tuple[Path, ...] = ()
    given: tuple[str, ...] = ()
    _own: ComposedOptions = field(default_factory=ComposedOptions)

    def run(self, overrides: Sequence[str]) -> ComposedRun:
        """Compose one training.

        Raises:
            UsageError: a short key stands for several, or a yaml from elsewhere says what it may not.
            HydraException, OmegaConfBaseException: what Hydra says of the overrides.
        """
        plain = expand(list(overrides))
        base = self._base(plain) if any(needs_options(text, self._all) for text in plain) else None
        long = written_out(plain, base)
        config = self._composed(long)
        self._check(config, long)
        if "experiment" in config:
            choices: Any = config.hydra.runtime.choices
            raise UsageError(
                f"experiment={choices['experiment']}: its yaml sets `experiment` and not the config, expected "
                "'# @package _global_' as its first line"
            )
        return ComposedRun(config, tuple(overrides), tuple(long), tuple(folder.resolve() for folder in self.folders))

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Compose a config, with Hydra's part of it. Raises as `run`."""
        return self.run(overrides).config

    def _base(self, overrides: Sequence[str]) -> DictConfig:
        """The config of the chosen options alone, as far as it can be had: the same for all values of other keys."""
        typed = read_typed(overrides, self._all)
        if typed is None:
            choices = [text for text in overrides if "." not in text.partition("=")[0].partition("@")[0]]
        else:
            choices = typed.choices
        return self._of_options(tuple(written_out(choices)))

    def _composed(self, overrides: Sequence[str]) -> DictConfig:
        typed = read_typed(overrides, self._all)
        config = with_values(self._of_options(typed.choices), typed) if typed else None
        return self._by_hydra(overrides) if config is None else config

    def _of_options(self, choices: tuple[str, ...]) -> DictConfig:
        with _one_at_a_time:
            kept = self._own if self.folders else _of_the_package
            return kept.get(choices, self._by_hydra)

    @property
    def _all(self) -> list[Path]:
        return [CONF, *self.folders]

    def _by_hydra(self, overrides: Sequence[str]) -> DictConfig:
        register()
        with composing(self.folders), warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            config = compose(PRIMARY, list(overrides), return_hydra_config=True)
        as_files(config)
        for warning in told:
            if found := re.search(r"path=(\S+) is not available", str(warning.message)):
                raise UsageError(
                    f"hydra.searchpath: given {found[1]}, which is not there; give a folder as file://FOLDER"
                )
        return config

    def _check(self, config: DictConfig, overrides: Sequence[str]) -> None:
        trust = [text for text in self.given if text.lstrip("+").startswith("trust=")]
        of_hydra = [text for text in overrides if text.lstrip("+~").startswith(("hydra.", "hydra/"))]
        of_hydra = [text for text in of_hydra if not text.lstrip("+~").startswith(ANYBODYS)]
        sweeper: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=False)
        check_swept(sweeper.get("params") or {}, _trusts(trust, "hydra"))
        if not self.folders and not of_hydra and all("@" not in text for text in overrides):
            return
        typed = [text for text in overrides if text.lstrip("+").startswith("trust=")]
        trusted = parsed(typed[-1]) if typed else None
        check_trust(config, trusted.value() if trusted else [])
        try:
            own = _plain(tuple(of_hydra))
        except HydraException:  # an option of Hydra's groups that a user's folder has
            own = _plain(())
        check_hydra(config, own, _plain(()), _trusts(trust, "hydra"))
        if not _trusts(trust, "environment"):
            with in_hydra(config):
                check_environment(config, self.given)


class UsersFolders(SearchPathPlugin):
    """While a command is composing: puts its folders before the project's own, whose yamls are kept."""

    folders: ClassVar[tuple[Path, ...] | None] = None

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if self.folders is None:
            return
        for folder in self.folders:
            search_path.prepend("command-line", f"file://{folder.resolve()}", anchor="main")
        keep(CONF, search_path)


@contextmanager
def composing(folders: tuple[Path, ...]) -> Iterator[None]:
    """Let Hydra compose from the project's config, and from these folders before it."""
    with _one_at_a_time:
        Plugins.instance().register(KeptYamls)
        Plugins.instance().register(UsersFolders)
        UsersFolders.folders = folders
        hydra = GlobalHydra.instance()
        before, hydra.hydra = hydra.hydra, None  # a notebook, or the launcher that started this, may have its own
        try:
            with initialize_config_dir(str(CONF), version_base="1.3", job_name=PRIMARY):
                yield
        finally:
            UsersFolders.folders = None
            GlobalHydra.instance().hydra = before


@contextmanager
def in_hydra(config: DictConfig) -> Iterator[None]:
    """Let `${hydra:...}` be resolved by `config`, in this process."""
    with _one_at_a_time:
        known: Any = HydraConfig.instance()
        before = known.cfg
        OmegaConf.set_readonly(config.hydra, True)
        known.cfg = config  # `set_config` would copy Hydra's part, which takes as long as composing
        try:
            yield
        finally:
            known.cfg = before


@functools.cache
def _plain(overrides: tuple[str, ...]) -> Mapping[str, Any]:
    """Hydra's part of the config that the project's own yamls give."""
    with composing(()):
        config = compose(PRIMARY, list(overrides), return_hydra_config=True)
    return OmegaConf.to_container(config.hydra, resolve=False)  # type: ignore[return-value]


def _trusts(typed: Sequence[str], word: str) -> bool:
    """Whether the command line says `trust=[WORD]`, in one list or in each of several to sweep over."""
    for text in typed:
        override = parsed(text)
        if override is not None:
            values = override.sweep_iterator() if override.is_sweep_override() else [override.value()]
            return any(isinstance(value, list) and word in map(str, value) for value in values)
    return False


def check_folder(folder: Path) -> None:
    """Raise a UsageError where a user's config folder holds a config that would take the place of the project's."""
    if (folder / f"{PRIMARY}.yaml").exists():
        raise UsageError(
            f"{folder / PRIMARY}.yaml: has the name of rnn_research's own primary config, expected options in "
            "folders named after their groups; rename it"
        )
