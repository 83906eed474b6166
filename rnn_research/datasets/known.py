"""Published data: read from a folder that the user names, or downloaded once, and known by what is in them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rnn_research.checks import path_of
from rnn_research.datasets.download import download
from rnn_research.datasets.own.archives import published_files
from rnn_research.records.cache_folder import cache_folder

log = logging.getLogger(__name__)
_said: set[str] = set()
"""What this process has said of where data come from."""


@dataclass(frozen=True)
class PublishedData:
    """Where data come from, and how they are known.

    Archives are packed anew now and then, so it is the files in them that are checked.

    Attributes:
        name: of the data, as a folder in the cache is called.
        urls: of the files, or of archives that hold them.
        wanted: whether a file's name is one of theirs.
        digest: `digest_of` the wanted files.
        what: the files, as a message names them.
        licence, citation: as their authors ask; said once, when they are downloaded or first read.
        added: wanted files that others have put beside them, of which the digest knows nothing.
        called: other names under which files go round, and their own.
    """

    name: str
    urls: tuple[str, ...]
    wanted: Callable[[str], bool]
    digest: str
    what: str
    licence: str
    citation: str
    added: frozenset[str] = frozenset()
    called: Mapping[str, str] = field(default_factory=dict)

    def files(self, root: Path | None, cache: str | None) -> Mapping[str, bytes]:
        """The contents of the files by name: those below `root`, else those of the cache, downloaded where they are not
        there.

        Files of the user's own that differ from the published ones are taken, and that is said.

        Raises:
            ValueError: they can't be had, or what was downloaded is something else.
        """
        self._say()
        if root is not None:
            found = self._named(published_files(root, lambda name: self.wanted(self.called.get(name, name)), self.what))
            if self._digest(found) != self.digest:
                log.warning("dataset.root: the files in %s differ from those published as %s", root, self.name)
            return found
        folder = _cache(cache) / self.name
        for url in self.urls:
            download(url, None, folder)
        found = published_files(folder, self.wanted, self.what)
        if (digest := self._digest(found)) != self.digest:
            for path in folder.iterdir():
                path.unlink()
            raise ValueError(
                f"dataset.root: {', '.join(self.urls)} gave files with SHA-256 {digest}, expected {self.digest}: they "
                "were deleted; try again, or fetch the files by hand and set dataset.root to their folder"
            )
        return found

    def _named(self, files: Mapping[str, bytes]) -> Mapping[str, bytes]:
        return {self.called.get(name, name): content for name, content in files.items()}

    def _digest(self, files: Mapping[str, bytes]) -> str:
        return digest_of({name: content for name, content in files.items() if name not in self.added})

    def _say(self) -> None:
        if self.name not in _said:
            _said.add(self.name)
            log.info("dataset: %s (%s). %s", self.name, self.licence, self.citation)


def digest_of(files: Mapping[str, bytes]) -> str:
    """The SHA-256 over the files in the order of their names: of each its name and the SHA-256 of its contents."""
    whole = hashlib.sha256()
    for name in sorted(files):
        whole.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    return whole.hexdigest()


def _cache(cache: str | None) -> Path:
    if cache is not None:
        return path_of("dataset.cache", cache)
    if (folder := cache_folder()) is None:
        raise ValueError("dataset.cache: given none, and this user has no home folder; set it to a folder")
    return folder
