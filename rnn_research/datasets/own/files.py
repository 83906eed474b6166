"""Files that a user gives: found, read as text, and refused in one line that names the file and the line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

REPAIR = "mend or delete it"
MARKS = {
    b"\xff\xfe\0\0": "UTF-32",  # before UTF-16's mark, with which it begins
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"\x1f\x8b": "a gzip file",
    b"PK\x03\x04": "a zip file",
}
"""What a file is that begins so, and no UTF-8."""
GLANCED = 4096
"""Bytes in which signs of two or four bytes are looked for, where no mark says so."""


def refusal(path: Path, found: str, line: int | None = None, repair: str = REPAIR) -> ValueError:
    """The error for what was found in a file, at a line counted from 1."""
    at = "" if line is None else f", line {line}"
    return ValueError(f"dataset.path: {path}{at}: {found}; {repair}")


def of_root(error: ValueError) -> ValueError:
    """The same error of data that are read from `dataset.root`."""
    said = str(error)
    key = next((one for one in ("dataset.path:", "path:") if said.startswith(one)), "")
    return ValueError(f"root:{said[len(key) :]}") if key else error


def files_at(path: Path, endings: Iterable[str], what: str) -> list[Path]:
    """The file at `path`; of a folder, every file in it and below whose name has one of these endings, in order.
    Hidden ones are left out.

    Args:
        endings: with their dot, in lower case; a file that is itself given may have any.
        what: what the files hold, for a message.

    Raises:
        ValueError: there is nothing there, or no such file in the folder.
    """
    endings = tuple(endings)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ValueError(f"dataset.path: given {path}, which is not there, expected {what}; check the path")
    found = sorted(
        one
        for one in path.rglob("*")
        if one.name.lower().endswith(endings)
        and one.is_file()
        and not any(part.startswith(".") for part in one.relative_to(path).parts)
    )
    if not found:
        raise ValueError(
            f"dataset.path: {path} has no file that ends in {' or '.join(endings)}, expected {what}; check the path"
        )
    return found


def bytes_of(path: Path) -> bytes:
    """A file's contents.

    Raises:
        ValueError: it can't be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"dataset.path: can't read {path} ({error.strerror}), expected a file that can be read; check the path"
        ) from error


def refuse_other_forms(path: Path, content: bytes) -> None:
    """Refuse what is plainly text of another form: packed, or in signs of two or four bytes.

    Raises:
        ValueError: it is; says which form.
    """
    if (form := other_form(content)) is not None:
        packed = not form.startswith("UTF")
        raise refusal(path, f"found {form}, expected text in UTF-8", repair="unpack it" if packed else "convert it")


def other_form(content: bytes) -> str | None:
    """What these bytes are that begin a file and are plainly no text in UTF-8; None: not plainly."""
    return next((form for mark, form in MARKS.items() if content.startswith(mark)), None) or _wide(content[:GLANCED])


def _wide(start: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark, of a text most of whose signs are Latin: every other byte is 0, or three of
    four are."""
    if len(start) < 8:
        return None
    empty = [start[place::4].count(0) > 0.7 * (len(start) // 4) for place in range(4)]
    return {2: "UTF-16", 3: "UTF-32"}.get(sum(empty))


def text_of(path: Path, encoding: str = "utf-8", content: bytes | None = None) -> str:
    r"""A file's text, without a byte order mark, with every end of line as \n.

    Args:
        content: what it holds, where that is read already.

    Raises:
        ValueError: the file can't be read, is not text of this encoding, or holds a NUL byte: names the line.
    """
    content = bytes_of(path) if content is None else content
    refuse_other_forms(path, content)
    try:
        text = content.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise refusal(path, f"found bytes that are not {encoding}", line, "convert the file to UTF-8") from None
    if "\0" in text:
        raise refusal(path, "found a NUL byte, expected text", text[: text.index("\0")].count("\n") + 1)
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
