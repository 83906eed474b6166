"""What a command says on stdout and stderr: nothing there ends a command that has done its work.

A sign that the terminal's encoding lacks is written with others; what nobody reads any more (`| head`, a terminal that
is closed) is dropped. Knows the standard library alone.
"""

from __future__ import annotations

import atexit
import codecs
import contextlib
import errno
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

GONE = (errno.EPIPE, errno.EIO, errno.ECONNRESET)
"""The reader of a pipe, a terminal, a connection."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The disk on which a file lies."""
STREAMS = ("<stdout>", "<stderr>")
"""What an error in writing there has as its file's name."""
PLAIN = {
    "±": "+-",
    "×": "x",
    "·": "*",
    "−": "-",
    "–": "-",
    "—": "-",
    "…": "...",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "→": "->",
    "µ": "u",
    "μ": "u",
    "σ": "sigma",
    "∞": "inf",
    "²": "^2",
    "∂": "d",
    "’": "'",
    "“": '"',
    "”": '"',
    "†": "*",
    "‡": "**",
    **dict(zip("▁▂▃▄▅▆▇█", "12345678", strict=True)),
}
"""Signs of this project's, and what is written where an encoding lacks them."""


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """A codec's error handler: others for the signs that it can't write; bytes of a file's name as they were."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(PLAIN.get(sign) or _byte(ord(sign)) or "?" for sign in text), error.end


def _byte(code: int) -> str:
    """What python made of a byte of a name that is not in UTF-8; empty for a sign."""
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else ""


codecs.register_error("rnn_research.plain", _plain)


class Forgiving:
    """A text stream whose reader may go away.

    Args:
        full: whether what has no room on a disk is dropped too; else it is an OSError, once.
    """

    def __init__(self, stream: Any, full: bool = False) -> None:
        self._stream, self._dropped = stream, (*GONE, *(FULL if full else ()))

    def write(self, text: str) -> int:
        """Write, or drop what nobody reads."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """Likewise."""
        try:
            self._stream.flush()
        except OSError as error:
            self._drop(error)

    def writelines(self, lines: Any) -> None:
        """Likewise."""
        for line in lines:
            self.write(line)

    def _drop(self, error: OSError) -> None:
        """Let what was buffered, and all that comes, go nowhere."""
        if error.errno in (*GONE, *FULL):
            with contextlib.suppress(OSError):  # one in memory has no number
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)
        if error.errno not in self._dropped:
            error.filename = error.filename or getattr(self._stream, "name", None)
            raise error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def unwritable(error: OSError) -> str:
    """What to say where stdout or stderr can't be written; empty where an error is of something else."""
    return f"{error.filename}: can't be written ({error.strerror}); give it room" if error.filename in STREAMS else ""


def on_terminal(stream: Any) -> bool:
    """Whether somebody looks at a stream while it is written."""
    return stream is not None and stream.isatty()


@contextlib.contextmanager
def forgiving(full: bool = False) -> Iterator[None]:
    """Within, stdout and stderr drop what nobody reads, and write every text in whatever encoding they have.

    Args:
        full: see `Forgiving`.
    """
    _open_all()
    before = sys.stdout, sys.stderr
    for stream in before:
        with contextlib.suppress(AttributeError, ValueError, OSError):  # a test's has no encoding
            stream.reconfigure(errors="rnn_research.plain")  # type: ignore[attr-defined]
    sys.stdout, sys.stderr = (stream and Forgiving(stream, full) for stream in before)  # type: ignore[assignment]
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = before
        atexit.unregister(_end_quietly)
        atexit.register(_end_quietly)  # the last to be registered is the first to be called


def _end_quietly() -> None:
    """Python takes a moment to end, once torch is imported: Ctrl-C then ends it at once, and without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _open_all() -> None:
    """A command that is started with stdin, stdout or stderr closed would give its first file their number, and what is
    said would be written there."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
