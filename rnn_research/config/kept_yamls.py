"""A folder of yamls for Hydra, each of which is parsed once as long as it stays the same: a third of composing's time.

Hydra parses every yaml that a config is made from each time that it composes one. A source of configs is a plugin of
Hydra's, with a scheme as of an address; in all that Hydra says it has the name of the plain folder that it is.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf

_parsed: dict[str, tuple[tuple[int, ...], bytes]] = {}
"""Path -> what tells that the file is the same, and what was read; Hydra copies sources, so that they hold nothing."""


class KeptYamls(ConfigSource):
    """The yamls below a folder."""

    @staticmethod
    def scheme() -> str:
        return "kept"

    def load_config(self, config_path: str) -> ConfigResult:
        """Return a yaml as Hydra's source of files does.

        Raises:
            ConfigLoadError: there is none.
        """
        path = self._at(self._normalize_file_name(config_path))
        try:
            state = os.stat(path)
        except OSError as error:
            raise ConfigLoadError(f"Config not found : {path}") from error
        stamp = (state.st_ino, state.st_mtime_ns, state.st_size)
        if path not in _parsed or _parsed[path][0] != stamp:
            with open(path, encoding="utf-8") as file:
                header = self._get_header_dict(file.read(512))
                file.seek(0)
                _parsed[path] = stamp, pickle.dumps((header, OmegaConf.load(file)))
        header, config = pickle.loads(_parsed[path][1])
        return ConfigResult(config=config, path=f"file://{self.path}", provider=self.provider, header=header)

    def available(self) -> bool:
        """Whether the folder is there."""
        return self.is_group("")

    def is_group(self, config_path: str) -> bool:
        """Whether there is a folder of this name."""
        return os.path.isdir(self._at(config_path))

    def is_config(self, config_path: str) -> bool:
        """Whether there is a yaml of this name."""
        return os.path.isfile(self._at(self._normalize_file_name(config_path)))

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return the names of groups, configs or both in a folder."""
        found: list[str] = []
        for name in os.listdir(self._at(config_path)):
            self._list_add_result(found, os.path.join(config_path, name), name, results_filter)
        return sorted(set(found))

    def __repr__(self) -> str:
        return f"provider={self.provider}, path=file://{self.path}"

    def full_path(self) -> str:
        """Return the folder's address."""
        return f"file://{self.path}"

    def _at(self, path: str) -> str:
        return os.path.realpath(os.path.join(self.path, path))


def keep(folder: Path, search_path: ConfigSearchPath) -> None:
    """Let Hydra read a folder of its search path by `KeptYamls`."""
    for element in search_path.get_path():
        if element.path in (str(folder), f"file://{folder}"):
            element.path = f"{KeptYamls.scheme()}://{folder}"


def as_files(config: DictConfig) -> None:
    """Let a composed config name the folders that were kept as those of files."""
    for source in config.hydra.runtime.config_sources:
        if source.schema == KeptYamls.scheme():
            source.schema = "file"
