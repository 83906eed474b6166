"""Which colour, marker and dashes a condition has: the same in every figure, on every page, in every subset.

A condition's slot is preferred by its own name alone (a known option has one of its own, another is hashed), and not by
its place among the others. Where two prefer one slot the one whose first run started earlier has it. Which factor has
the colours is decided by the sweep that first varied one (`looks`). So no colour changes when conditions are filtered,
when runs that start later are added, or when runs fail: those are counted by their record, whatever became of them.

One case can't be told from its records: runs that are added with values of the same keys as the first sweep typed
(`model=rnn clipping=none,value`, then `model=lstm clipping=none,value`) are that sweep's own, and where they make the
model vary it has the colours from then on, and clipping the dashes. Dashes and markers of what was there before may
change where another factor takes them: they tell few options apart, and colour has the first claim.

Colours: eight of Okabe and Ito's hues (2008) at a lightness with a contrast of 3:1 or more to the page (WCAG 1.4.11),
told apart with every kind of colour blindness for the first five; markers and dashes tell all apart without colour.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.typing import LineStyleType

COLOURS = ("#0072b2", "#d55e00", "#00845f", "#b0418c", "#5e4a00", "#5a4fcf", "#2b8ca3", "#4c4c4c")
DARK = ("#56a8e0", "#f08c3c", "#3cc79a", "#e58ac3", "#e6d27a", "#a79bf5", "#6cc6dd", "#c8c8c8")
"""The same on a dark page."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
DASHES: tuple[LineStyleType, ...] = (
    "solid",
    (0.0, (4.0, 1.6)),
    (0.0, (1.0, 1.3)),
    (0.0, (5.0, 1.4, 1.0, 1.4)),
)
KNOWN = {
    "": 0,
    "rnn": 0,
    "tree_rnn": 0,
    "lstm": 1,
    "nary_tree_lstm": 1,
    "gru": 2,
    "child_sum_tree_lstm": 3,
    "linear": 7,
    "chain": 0,
    "parse": 1,
    "balanced": 2,
    "left": 3,
    "right": 4,
    "none": 0,
    "global_norm": 1,
    "value": 2,
    "omega": 1,
}
"""The slots of options that most studies have."""


def slots(names: Sequence[str], count: int, first: bool = False) -> dict[str, int]:
    """The number of each name: modulo `count` its slot, and how often that was taken before it.

    Args:
        names: those that started earlier first.
        count: of slots.
        first: whether the first name has the first slot: what was drawn solid before there were other options stays so.
    """
    taken = [0] * count
    found = {}
    for name in dict.fromkeys(names):
        order = _preferred(name, count)
        if first and not found:
            order = list(range(count))
        slot = min(order, key=lambda slot: (taken[slot], order.index(slot)))
        found[name] = slot + count * taken[slot]
        taken[slot] += 1
    return found


def _preferred(name: str, count: int) -> list[int]:
    """All slots, the most preferred first: by the name alone (rendezvous hashing, Thaler and Ravishankar 1998)."""
    order = sorted(range(count), key=lambda slot: zlib.crc32(f"{slot}/{name}".encode()))
    if name not in KNOWN:
        return order
    own = KNOWN[name] % count
    return [own, *(slot for slot in order if slot != own)]


SHAPES = {
    "o": "M10 5a3 3 0 1 0 6 0a3 3 0 1 0-6 0Z",
    "s": "M10.2 2.2h5.6v5.6h-5.6Z",
    "^": "M13 1.6L16.4 7.8H9.6Z",
    "D": "M13 1.2L16.6 5L13 8.8L9.4 5Z",
    "v": "M13 8.4L16.4 2.2H9.6Z",
    "P": "M12 1.8h2v2.2h2.2v2H14v2.2h-2V6H9.8V4H12Z",
    "X": "M10.4 3.8l1.2-1.2L13 4l1.4-1.4l1.2 1.2L14.2 5l1.4 1.2l-1.2 1.2L13 6l-1.4 1.4l-1.2-1.2L11.8 5Z",
    "p": "M13 1.6l3.3 2.4l-1.3 3.9h-4L9.7 4Z",
}
"""The markers as SVG paths."""


def key(number: int, marker: str, dash: LineStyleType, alpha: float, width: float) -> str:
    """A line with its marker as a small picture, for a row of a table; colours as the page's variables."""
    gaps = "" if isinstance(dash, str) else f' stroke-dasharray="{" ".join(f"{1.5 * gap:g}" for gap in dash[1])}"'
    colour = f"var(--c{number % len(COLOURS)})"
    return (
        '<svg class="key" viewBox="0 0 26 10" width="26" height="10" aria-hidden="true">'
        f'<path d="M0 5H26" fill="none" style="stroke:{colour}" stroke-width="{width:g}" '
        f'stroke-opacity="{alpha:g}"{gaps}/>'
        f'<path d="{SHAPES[marker]}" style="fill:{colour}"/></svg>'
    )


def marker_of(number: int) -> str:
    """The marker of a slot: a colour's own, and another where the colour is used again."""
    return MARKERS[(number + number // len(COLOURS)) % len(MARKERS)]
