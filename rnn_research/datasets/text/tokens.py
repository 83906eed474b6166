r"""Text split into tokens: words of any alphabet, what stands between spaces, or characters.

A word is a run of letters, digits and the marks on them, with apostrophes, and with points or commas between digits;
any other sign is a token of its own. Chinese, Japanese, Thai, Lao, Tibetan, Burmese and Khmer are written without
spaces between words: there each character, with its marks, is a token. An emoji of several code points (a flag, a skin
colour, a family) is one token.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache

TOKENS = ("words", "spaces", "characters")
NO_SPACES = (
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # signs that repeat or abbreviate a Chinese character
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Chinese characters
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
    (0x1B000, 0x1B16F),
    (0x20000, 0x3FFFF),
)
"""Code points of scripts without spaces between words."""
TONES = "\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f"
"""What follows an emoji: skin colours, and the letters of a region's flag."""
FLAGS = "\U0001f1e6-\U0001f1ff"
"""Two of them are a country's flag."""
MARKS_END = 0x1F000
JOINERS = "\u200c\u200d"
"""They keep letters, or emoji, apart or together, and have no width."""
ASCII_WORDS = re.compile(r"\d+(?:[.,]\d+)+(?!\w)|\w+(?:'\w+)*|[^\w\s]")


def tokeniser(tokens: str, lower: bool) -> Callable[[str], list[str]]:
    """A function that splits a text.

    Equal text that Unicode allows to be written in several ways is brought to one (NFC) first.

    Args:
        tokens: `words`; `spaces`: what stands between white space, for text that is split already; `characters`: code
            points.
        lower: in lower case.
    """
    split = {"words": words, "spaces": str.split, "characters": list}[tokens]

    def splits(text: str) -> list[str]:
        if not text.isascii():
            text = unicodedata.normalize("NFC", text)
        return split(text.lower() if lower else text)

    return splits


def words(text: str) -> list[str]:
    """The words and signs of a text, in order."""
    return (ASCII_WORDS if text.isascii() else _any_words()).findall(text)


@cache
def _any_words() -> re.Pattern[str]:
    r"""The pattern of words and signs in any script. `\w` alone has no marks: without them a word of Hindi breaks."""
    marks = _marks()
    spaceless = "".join(f"{chr(low)}-{chr(high)}" for low, high in NO_SPACES)
    letter = rf"(?:(?![{spaceless}])\w)"
    rest = rf"(?:(?![{spaceless}])[\w{marks}{JOINERS}])"
    sign = rf"[^\w\s][{marks}{TONES}]*"
    return re.compile(
        rf"\d+(?:[.,]\d+)+(?!\w)"
        rf"|{letter}{rest}*(?:['’]{letter}{rest}*)*"
        rf"|[{spaceless}][{marks}]*"
        rf"|[{FLAGS}]{{2}}"
        rf"|{sign}(?:\u200d{sign})*"
    )


def _marks() -> str:
    """The code points of marks, as a character class without its brackets."""
    found, start = ["\U000e0100-\U000e01ef"], None  # and, after a gap, those that choose a variant
    for code in range(0x300, MARKS_END + 1):
        mark = unicodedata.category(chr(code)) in ("Mn", "Mc", "Me")
        if mark and start is None:
            start = code
        elif not mark and start is not None:
            found.append(f"{chr(start)}-{chr(code - 1)}")
            start = None
    return "".join(found)
