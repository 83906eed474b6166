"""What takes long to read, kept on disk by what it was read from: a second start reads the result."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from rnn_research.records.cache_folder import cache_folder

Arrays = dict[str, np.ndarray]


def digest_of_contents(contents: Iterable[bytes], options: Any) -> str:
    """A digest of files' contents, in order, and of what is done with them, in types that JSON has."""
    whole = hashlib.blake2b(json.dumps(options, sort_keys=True).encode(), digest_size=20)
    for content in contents:
        whole.update(hashlib.blake2b(content, digest_size=20).digest())
    return whole.hexdigest()


def kept(kind: str, digest: str, make: Callable[[], Arrays]) -> Arrays:
    """What `make` makes, from the cache where it was made before from the same.

    A file that is damaged, or a folder that can't be written, only costs the time of making it again.

    Args:
        kind: the folder's name in the cache.
        digest: of all that `make` reads.
    """
    above = cache_folder()
    if above is None:
        return make()
    path = above / kind / f"{digest}.npz"
    with (
        suppress(Exception),
        path.open("rb") as file,
        np.load(file, allow_pickle=False) as held,
    ):  # numpy, zipfile and zlib have their own
        return {name: held[name] for name in held.files}
    made = make()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            np.savez(file, **made)  # type: ignore[arg-type]
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            Path(temporary).unlink(missing_ok=True)
    return made
