"""Which colour, marker, dashes and panel a condition has in the figures of a comparison: see `palette` for the rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.typing import LineStyleType

from rnn_research.compare import Comparison, Condition
from rnn_research.compare.factors import is_of_clipping, option
from rnn_research.compare.page_data import beginnings, started, telling
from rnn_research.compare.select import Begun
from rnn_research.report.names import names, told_option
from rnn_research.report.palette import COLOURS, DASHES, key, marker_of, slots

MOST_SIGNS = 60
MOST_PANELS = 12
"""More sorts of data are not told apart by panels."""


@dataclass(frozen=True)
class Look:
    """How the conditions are told apart: the colour, marker and dashes of each option, and the panel each is drawn
    in."""

    panel_factors: tuple[str, ...]
    colour_factors: tuple[str, ...]
    dash_factors: tuple[str, ...]
    marker_factors: tuple[str, ...]
    """What neither colour nor dashes tell; where there is nothing, each colour has a marker of its own."""
    numbers: dict[str, int]
    """Of each option that has a colour, the slot of `palette`."""
    dashes: dict[str, LineStyleType]
    markers: dict[str, str]
    places: dict[tuple[str, ...], int]
    """Of each condition its number in the comparison, by its options."""
    factor_names: dict[str, str]
    told: dict[tuple[tuple[str, ...], str], str]
    """The joined options that have a colour or a marker, by their factors, as a legend says them."""
    repeated: dict[str, LineStyleType]
    """Of each option that has a colour the dashes that repeat it, where they tell nothing else."""

    @property
    def colours(self) -> dict[str, str]:
        """The colour of each option."""
        return {name: COLOURS[number % len(COLOURS)] for name, number in self.numbers.items()}

    def panel(self, condition: Condition) -> str:
        """The options that make the condition's panel: `digits`, `length 20`."""
        options = ((self.factor_names[factor], option_of(condition, factor)) for factor in self.panel_factors)
        return ", ".join(told_option(*option) for option in options)

    def number(self, condition: Condition) -> int:
        """The condition's slot of `palette`."""
        return self.numbers[joined_options(condition, self.colour_factors)]

    def colour(self, condition: Condition) -> str:
        """One of `COLOURS`."""
        return COLOURS[self.number(condition) % len(COLOURS)]

    def marker(self, condition: Condition) -> str:
        """One of `MARKERS`."""
        if not self.marker_factors:
            return marker_of(self.number(condition))
        return self.markers[joined_options(condition, self.marker_factors)]

    def sign(self, condition: Condition) -> str:
        """The marker on a line; none where there are so many lines that nobody could tell it."""
        return self.marker(condition) if len(self.places) <= MOST_SIGNS else ""

    def dash(self, condition: Condition) -> LineStyleType:
        """One of `DASHES`."""
        return self.dashes[joined_options(condition, self.dash_factors)]

    def stroke(self, condition: Condition) -> dict[str, Any]:
        """What a line of the condition is drawn with."""
        return {"color": self.colour(condition), **self._line(condition), "gid": self.gid(condition)}

    def key(self, condition: Condition) -> str:
        """The condition's line and marker as a small SVG."""
        pen = self._line(condition)
        return key(self.number(condition), self.marker(condition), pen["linestyle"], pen["alpha"], pen["linewidth"])

    def gid(self, condition: Condition) -> str:
        """The mark by which the page finds what is drawn of the condition."""
        return f"cond{self.places[tuple(condition.options.values())]}"

    def _line(self, condition: Condition) -> dict[str, Any]:
        """Where markers tell another factor than colour does, and dashes nothing, these repeat the colour: no line is
        told by its colour alone."""
        if self.marker_factors and not self.dash_factors:
            return self.pen(self.repeated[joined_options(condition, self.colour_factors)])
        return self.pen(self.dash(condition))

    def pen(self, dash: LineStyleType) -> dict[str, Any]:
        """Where dashes tell options apart the solid line is broad and pale, to be seen below a dashed one."""
        if len(self.places) > MOST_SIGNS:
            return {"linestyle": dash, "linewidth": 0.7, "alpha": 0.7}
        broad = len(self.dashes) > 1 and dash == DASHES[0]
        return {"linestyle": dash, "linewidth": 3.0 if broad else 1.5, "alpha": 0.5 if broad else 1.0}


def look(comparison: Comparison) -> Look:
    """Panels by data, colour by the first of the other factors, as a rule the model, dashes by clipping,
    or where that is one by the others; markers by what is left. The first is the oldest (see `page_data.age`), so that
    what runs that are added vary anew takes the colour of none."""
    began = beginnings(comparison)
    ages = telling(comparison, began)
    varying = tuple(ages)
    panels = tuple(f for f in varying if f.split(".")[0] == "dataset")
    others = tuple(f for f in varying if f not in panels)
    if len(_options(comparison, panels)) > MOST_PANELS:
        panels, others = (), (*others, *panels)
    rest, others = others[:1], others[1:]
    dashed = tuple(f for f in others if is_of_clipping(f))
    left = tuple(f for f in others if f not in dashed)
    if not dashed:
        dashed, left = left, ()
    if len(_options(comparison, dashed)) > len(DASHES):
        dashed, left = (), (*left, *dashed)
    dash_first = not any(map(is_of_clipping, dashed))  # no clipping is solid everywhere
    return Look(
        panels,
        rest,
        dashed,
        left,
        _of_those_shown(comparison, began, rest, len(COLOURS)),
        {
            name: DASHES[slot % len(DASHES)]
            for name, slot in _of_those_shown(comparison, began, dashed, len(DASHES), dash_first).items()
        },
        {name: marker_of(slot) for name, slot in _of_those_shown(comparison, began, left, len(COLOURS)).items()},
        {tuple(condition.options.values()): place for place, condition in enumerate(comparison.conditions)},
        told := names(comparison, varying),
        {
            (some, joined_options(c, some)): ", ".join(
                told_option(told[factor], option_of(c, factor)) for factor in some
            )
            for some in (rest, left)
            for c in comparison.conditions
        },
        {
            name: DASHES[slot % len(DASHES)]
            for name, slot in _of_those_shown(comparison, began, rest, len(DASHES)).items()
        },
    )


def _of_those_shown(
    comparison: Comparison, began: Sequence[Begun], factors: Sequence[str], count: int, first: bool = False
) -> dict[str, int]:
    """The slots of the options that conditions have, in their order; others that started earlier have theirs too."""
    shown = _options(comparison, factors)
    found = slots([*started(began, factors), *shown], count, first)
    return {name: found[name] for name in shown}


def joined_options(condition: Condition, factors: Sequence[str]) -> str:
    """The condition's options of `factors`, as one text."""
    return ", ".join(option_of(condition, factor) for factor in factors)


def option_of(condition: Condition, factor: str) -> str:
    """A condition's option, also of a factor that is the same in all conditions."""
    return condition.options.get(factor) or option(condition.runs[0].settings, factor)


def joined_names(factors: Sequence[str], comparison: Comparison) -> str:
    """What the factors are called, as one text."""
    told = names(comparison, factors)
    return ", ".join(told[factor] for factor in factors)


def _options(comparison: Comparison, factors: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(joined_options(condition, factors) for condition in comparison.conditions))
