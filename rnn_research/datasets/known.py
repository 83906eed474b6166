"""Published data: read from a folder that the user names, or downloaded once, and known by what is in them."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from rnn_research.checks import path_of
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.download import fetched, file_name, sha256_of
from rnn_research.datasets.folder_lock import locked
from rnn_research.datasets.licences import say_once
from rnn_research.datasets.own.archives import files_of, plain_name, published_files
from rnn_research.datasets.own.files import of_root
from rnn_research.datasets.task import Task
from rnn_research.records.cache_folder import cache_folder
from rnn_research.structures import Sample

log = logging.getLogger(__name__)
told = logging.getLogger("rnn_research.datasets.download")
"""What the user waits for."""


@dataclass(frozen=True)
class PublishedData:
    """Where data come from, and how they are known.

    Archives are packed anew now and then, so it is the files in them that are checked.

    Attributes:
        name: of the data, as a folder in the cache is called.
        urls: of the files, or of archives that hold them.
        wanted: whether a file's name is one of theirs.
        digest: `digest_of` the wanted files; empty: those of the user's own `url`, known by `sha256` alone.
        what: the files, as a message names them.
        licence, citation: as their authors ask; said once, when they are downloaded or first read.
        added: wanted files that others have put beside them, of which the digest knows nothing.
        called: other names under which files go round, and their own.
        sha256: of the one file at `urls`; None: not known.
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
    sha256: str | None = None

    def at(self, url: str, sha256: Any) -> PublishedData:
        """These data from another address, where there is one file with this SHA-256.

        Raises:
            ValueError: that is no SHA-256: nothing is read that is not checked.
        """
        if not isinstance(sha256, str) or not re.fullmatch("[0-9a-fA-F]{64}", sha256):
            raise ValueError(f"sha256: given {sha256!r}, expected the 64 hexadecimal digits of the file at dataset.url")
        same = sha256.lower() == self.sha256
        return replace(self, urls=(url,), sha256=sha256.lower(), digest=self.digest if same else "")

    def folder(self, cache: str | Path | None) -> Path:
        """Where a download is kept: below `cache`, so that nothing else in there is ever written over.

        Raises:
            ValueError: there is no such folder.
        """
        if cache is not None:
            return path_of("dataset.cache", cache) / self.name
        if (folder := cache_folder()) is None:
            raise ValueError("dataset.cache: given none, and this user has no home folder; set it to a folder")
        return folder / self.name

    def files(self, root: Path | None, cache: str | Path | None) -> Mapping[str, bytes]:
        """The contents of the files by name: those below `root`, else those of the cache, downloaded where they are not
        there.

        Files of the user's own that differ from the published ones are taken, and that is said.

        Raises:
            ValueError: they can't be had, or what was downloaded is something else.
        """
        if root is None:
            found = self._downloaded(self.folder(cache))
        else:
            found = self._named(published_files(root, self._wanted, self.what))
            if not self._right(found):
                log.warning("dataset.root: the files in %s differ from those published as %s", root, self.name)
                return found
        if self.digest:
            say_once(self.name, self.licence, self.citation)
        return found

    def _downloaded(self, folder: Path) -> Mapping[str, bytes]:
        if (found := self._kept(folder)) is not None:
            return found
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder, lambda: told.info("dataset: another process downloads to %s; waiting", folder)):
                found = self._kept(folder)  # by now
                return self._fetched(folder) if found is None else found
        except OSError as error:
            raise ValueError(
                f"dataset.cache: given {folder}, expected a folder that can be written ({error}); give another, or "
                "fetch the files by hand and set dataset.root to their folder"
            ) from error

    def _kept(self, folder: Path) -> Mapping[str, bytes] | None:
        """What is in the cache, by a download or by hand; None: not all, or something else."""
        names = [file_name(url) for url in self.urls]
        try:
            paths = sorted(path for path in folder.iterdir() if path.is_file())
            if self.sha256 is not None and folder / names[0] in paths and sha256_of(folder / names[0]) == self.sha256:
                return self._named(files_of([folder / names[0]], self._wanted))
            paths = [path for path in paths if path.name in names or self._wanted(plain_name(path))]
            found = self._named(files_of(paths, self._wanted))
        except (OSError, ValueError):  # there is none, or it is damaged
            return None
        return found if self._right(found) else None

    def _fetched(self, folder: Path) -> Mapping[str, bytes]:
        """What is at the addresses: where some of it was there, or came in pieces, and the whole is wrong, all of it
        anew."""
        for anew in (False, True):
            got = []
            for number, url in enumerate(self.urls):
                rest = self.urls[number:] if anew else [u for u in self.urls if not (folder / file_name(u)).is_file()]
                got.append(fetched(url, self.sha256, folder, anew, rest))
            paths = [path for path, _ in got]
            try:
                found = self._named(files_of(paths, self._wanted))
            except ValueError as error:
                found, said = {}, str(error)
            else:
                said = f"found files with SHA-256 {self._digest(found)}"
            if (found and not self.digest) or self._right(found):
                return found
            if self.sha256 is not None or all(now for _, now in got):
                break
            told.info("dataset: the files in %s are not those published as %s; downloading anew", folder, self.name)
        for path in paths:
            path.unlink(missing_ok=True)
        expected = f"those published as {self.name}, with {self.digest}" if self.digest else self.what
        raise ValueError(
            f"dataset.root: {' and '.join(self.urls)}: {said}, expected {expected}; what came was deleted; try again, "
            f"or fetch the files by hand into {folder}, or set dataset.root to their folder"
        )

    def _wanted(self, name: str) -> bool:
        return self.wanted(self.called.get(name, name))

    def _named(self, files: Mapping[str, bytes]) -> Mapping[str, bytes]:
        return {self.called.get(name, name): content for name, content in files.items()}

    def _right(self, files: Mapping[str, bytes]) -> bool:
        return self._digest(files) == self.digest

    def _digest(self, files: Mapping[str, bytes]) -> str:
        return digest_of({name: content for name, content in files.items() if name not in self.added})


def digest_of(files: Mapping[str, bytes]) -> str:
    """The SHA-256 over the files in the order of their names: of each its name and the SHA-256 of its contents."""
    whole = hashlib.sha256()
    for name in sorted(files):
        whole.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    return whole.hexdigest()


class KnownData(DataModule):
    """A data set that is known, before the class that reads its files: `class Trec(KnownData, TextData)`.

    Args:
        root: a folder with the published files, or with the archive of them; None: they are downloaded once.
        cache: the folder that keeps what is downloaded; None: $RNN_RESEARCH_CACHE, or `rnn_research` in
            $XDG_CACHE_HOME, or in ~/.cache.
        arguments, named: of the class behind.
    """

    PUBLISHED: ClassVar[PublishedData]

    def __init__(self, root: str | None, cache: str | None, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.root = None if root is None else path_of("root", root)
        self.cache, self.path = cache, self.root

    def published_files(self, needed: Iterable[str] = ()) -> Mapping[str, bytes]:
        """The contents of the published files, by name.

        Raises:
            ValueError: they can't be had, or one that is needed is not there.
        """
        found = self.PUBLISHED.files(self.root, self.cache)
        if missing := [name for name in needed if name not in found]:
            lacks = f"{self.root} has no {' and no '.join(missing)}, expected {self.PUBLISHED.what}"
            raise ValueError(f"root: {lacks}; fetch the files again")
        return found

    def load(self) -> tuple[Task, Mapping[str, Sequence[Sample]]]:
        """As the class behind; a mistake in the files is one of `root`."""
        try:
            return self.load_files()
        except ValueError as error:
            raise of_root(error) from None

    def load_files(self) -> tuple[Task, Mapping[str, Sequence[Sample]]]:
        """The task and the samples, as `load` gives them."""
        return super().load()
