"""A table as LaTeX that compiles with pdflatex, xelatex and lualatex alike, whatever the names in it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

ESCAPED = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "'": "{'}",
    "`": r"\textasciigrave{}",
    "-": "{-}",
    "[": "{[}",  # after \\ it would be a length
    "*": "{*}",  # after \\ too
    "?": "{?}",
    "!": "{!}",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "→": r"$\to$",
    "∞": r"$\infty$",
    "…": r"\dots{}",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "’": "'",
    "“": "``",
    "”": "''",
    "²": "$^2$",
    "°": r"$^\circ$",
    "∂": r"$\partial$",
    "µ": r"$\mu$",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
    "\u00a0": "~",
    "\n": " ",
    "\t": " ",
}
ACCENTS = dict(
    zip("\u0300\u0301\u0302\u0303\u0308\u030a\u0327\u030c\u0304\u0307\u030b\u0306", "`'^~\"rcv=.Hu", strict=True)
)
GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi "
    "omega"
)
CAPITAL = "gamma delta theta lambda xi pi sigma upsilon phi psi omega"
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e([+-]\d+))?(?![\w.])")


def tabular(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[bool]) -> str:
    """A booktabs tabular with a row a line. Numbers are set as numbers in the columns where `numbers` says so; signs
    that TeX has no letter for, such as Chinese, are written as their code, U+4E2D.

    Source: the booktabs manual (rules above, below the head, and below; none between).
    """
    spec = "".join("r" if number else "l" for number in numbers)
    body = [
        [set_number(cell) if number else escaped(cell) for cell, number in zip(row, numbers, strict=True)]
        for row in rows
    ]
    lines = [
        r"% \usepackage{booktabs}",
        rf"\begin{{tabular}}{{{spec}}}",
        r"\toprule",
        _line(list(map(escaped, head))),
        r"\midrule",
        *map(_line, body),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """`text` as LaTeX that sets the same signs, in ASCII."""
    return "".join(map(_sign, unicodedata.normalize("NFC", text)))


def set_number(text: str) -> str:
    """The same of a cell of our own: -1.5e-09 in it is set as $-1.5\\times10^{-9}$."""
    done, end = [], 0
    for found in NUMBER.finditer(text):
        if found[1] or found[0].startswith("-"):
            mantissa = found[0].partition("e")[0]
            power = rf"\times10^{{{int(found[1])}}}" if found[1] else ""
            done += [escaped(text[end : found.start()]), f"${mantissa}{power}$"]
            end = found.end()
    return "".join(done) + escaped(text[end:])


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _sign(sign: str) -> str:
    if sign in ESCAPED:
        return ESCAPED[sign]
    if " " <= sign <= "~":
        return sign
    base, *marks = unicodedata.normalize("NFD", sign)
    if base.isascii() and base.isalpha() and len(marks) == 1 and marks[0] in ACCENTS:
        return rf"\{ACCENTS[marks[0]]}{{{base}}}"
    kind, _, name = unicodedata.name(sign, "").rpartition(" LETTER ")
    name = name.lower().replace("lamda", "lambda")
    if kind == "GREEK SMALL" and name in GREEK.split():
        return rf"$\{name}$"
    if kind == "GREEK CAPITAL" and name in CAPITAL.split():
        return rf"$\{name.capitalize()}$"
    return f"U+{ord(sign):04X}"
