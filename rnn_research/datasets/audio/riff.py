"""The header of a wav file: what is wrong with one, in words that say which file and what is read."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from rnn_research.datasets.own.files import refusal

READ = "8- to 32-bit PCM or float"
EXPECTED = f"expected a wav file of {READ}"
REPAIR = "convert it, or leave it out"
OTHERS = {
    b"ID3": "an MP3 file",
    b"\xff\xfb": "an MP3 file",
    b"\xff\xf3": "an MP3 file",
    b"OggS": "an Ogg file",
    b"fLaC": "a FLAC file",
    b"FORM": "an AIFF file",
    b".snd": "an AU file",
    b"\x1f\x8b": "a gzip file",
    b"PK\x03\x04": "a zip file",
}
"""What a file is that begins so."""
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
CODINGS = {2: "ADPCM", 6: "A-law", 7: "mu-law", 0x11: "IMA ADPCM", 0x31: "GSM 6.10", 0x50: "MPEG", 0x55: "MP3"}
"""Of sound, by the number in the header."""
UNKNOWN_SIZE = (0xFFFFFFFF, 0x7FFFFFFF)
"""What a program that writes to a pipe says of a size that it does not know yet."""


@dataclass(frozen=True)
class Chunk:
    """A part of a file: its name, where its contents begin, and how many bytes it says they have."""

    name: bytes
    start: int
    size: int


def checked_wav(path: Path, content: bytes) -> bytes:
    """The same file, with its sizes where it was written to a pipe.

    Raises:
        ValueError: it is no wav file of a coding that is read, or is cut short: names it.
    """
    if not content:
        raise refusal(path, f"is empty, {EXPECTED}", repair=REPAIR)
    if content[:4] not in (b"RIFF", b"RIFX", b"RF64") or content[8:12] != b"WAVE":
        other = next((name for mark, name in OTHERS.items() if content.startswith(mark)), None)
        other = "an MP4 file" if content[4:8] == b"ftyp" else other
        raise refusal(path, f"found {other or 'no wav file'}, {EXPECTED}", repair=REPAIR)
    order = ">" if content[:4] == b"RIFX" else "<"
    chunks = _chunks(content, order)
    form = next((one for one in chunks if one.name == b"fmt "), None)
    sound = next((one for one in chunks if one.name == b"data"), None)
    if form is None or form.start + 16 > len(content):
        raise refusal(path, f"is cut short: its header does not say how sound is coded, {EXPECTED}", repair=REPAIR)
    coding, channels, rate, _, width, _ = struct.unpack_from(f"{order}HHIIHH", content, form.start)
    if coding == EXTENSIBLE and form.size >= 26:
        (coding,) = (
            struct.unpack_from(f"{order}H", content, form.start + 24) if form.start + 26 <= len(content) else (0,)
        )
    if coding not in (PCM, FLOAT):
        name = CODINGS.get(coding, "an unknown coding")
        raise refusal(path, f"holds sound coded as {name} (number {coding}), expected {READ}", repair=REPAIR)
    if not (channels and rate and width):
        found = f"says that it has {channels} channels, {rate} samples a second and {width} bytes a sample"
        raise refusal(path, f"{found}, {EXPECTED}", repair=REPAIR)
    if sound is None:
        raise refusal(path, "is cut short: it has no sound, only a header", repair=REPAIR)
    if sound.size in UNKNOWN_SIZE and order == "<" and content[:4] == b"RIFF":
        rest = (len(content) - sound.start) // width * width
        sizes = struct.pack("<I", sound.start + rest - 8), struct.pack("<I", rest)
        return b"".join((b"RIFF", sizes[0], content[8 : sound.start - 4], sizes[1], content[sound.start :][:rest]))
    if content[:4] != b"RF64" and sound.start + sound.size > len(content):
        there = len(content) - sound.start
        raise refusal(path, f"is cut short: {there} bytes of sound of {sound.size}", repair="fetch it again")
    return content


def _chunks(content: bytes, order: str) -> list[Chunk]:
    found, at = list[Chunk](), 12
    while at + 8 <= len(content):
        (size,) = struct.unpack_from(f"{order}I", content, at + 4)
        found.append(Chunk(content[at : at + 4], at + 8, size))
        at += 8 + size + size % 2
    return found
