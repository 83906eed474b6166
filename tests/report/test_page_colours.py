"""A condition keeps its colour, marker and place: in subsets, beside new conditions, and where others fail."""

from __future__ import annotations

import dataclasses
import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import write_run

from rnn_research import report
from rnn_research.compare import compare
from rnn_research.records import runs
from rnn_research.report import figures, looks, palette
from rnn_research.report.palette import COLOURS, DARK, DASHES, MARKERS, slots

NAMES = ["rnn", "lstm", "gru", "my_cell", "other", "0.5", "a name of 300 characters " * 12, "Ünïcode", "<b>"]


def told(folder: Path) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """Colour, marker and line of each condition, by its options."""
    found = compare([folder])
    look = looks.look(found)
    strokes = [look.stroke(c) for c in found.conditions]
    return {
        tuple(c.options[factor] for factor in ("model", "clipping") if factor in c.options): (
            stroke["color"],
            look.marker(c),
        )
        for c, stroke in zip(found.conditions, strokes, strict=True)
    }


def grid(
    root: Path, models: list[str], clipped: tuple[float | None, ...] = (None, 1.0), first: int = 0, **changes: Any
):
    for place, (model, threshold) in enumerate(itertools.product(models, clipped)):
        start = f"2026-01-01T{first:02d}:{place:02d}:00+00:00"
        write_run(
            root / f"{first}-{place}",
            threshold=threshold,
            factors={"model": model},
            start=start,
            distances=9,
            **changes,
        )


@pytest.mark.parametrize("count", [1, 4, 8])
def test_names_that_come_later_change_no_slot(count: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        names = [f"option {n}" for n in rng.choice(500, size=12, replace=False)] + ["rnn", "lstm"]
        rng.shuffle(names)
        before, after = slots(names[:6], count), slots(names, count)
        assert {name: after[name] for name in before} == before
        assert len(set(after.values())) == len(after)


def test_up_to_so_many_names_as_slots_have_one_each() -> None:
    found = slots(NAMES[:8], 8)
    assert sorted(found.values()) == list(range(8))
    assert slots(NAMES, 8)[NAMES[8]] >= 8


def test_options_that_most_studies_have_look_the_same_everywhere() -> None:
    for names in itertools.permutations(("rnn", "lstm", "gru"), 2):
        assert slots(names, 8) == {name: palette.KNOWN[name] for name in names}


def test_a_condition_keeps_its_colour_when_others_are_added_and_when_some_fail(tmp_path: Path) -> None:
    grid(tmp_path, ["rnn", "my_cell", "another_cell"])
    before = told(tmp_path)
    grid(tmp_path, ["a_new_cell", "gru", "b_cell", "c_cell", "d_cell"], first=1)
    more = told(tmp_path)
    assert {options: more[options] for options in before} == before
    # the first of all fails: it is not shown, and the others stay as they are
    grid(tmp_path, ["rnn"], first=0, status="failed", error="no")
    fewer = told(tmp_path)
    assert set(more) - set(fewer) == {("rnn", "none"), ("rnn", "global_norm")}
    assert fewer == {options: more[options] for options in fewer}


def test_a_page_of_a_part_has_the_colours_of_the_whole(tmp_path: Path) -> None:
    grid(tmp_path / "a", ["rnn", "lstm"])
    grid(tmp_path / "b", ["gru", "rnn"], first=1)
    whole, part = told(tmp_path), told(tmp_path / "b")
    assert {options: whole[options][0] for options in part} == {options: look[0] for options, look in part.items()}


def test_what_is_filtered_keeps_its_colour_and_its_line(tmp_path: Path) -> None:
    grid(tmp_path, ["my_cell", "rnn", "lstm", "another_cell"])

    def lines(*where: str) -> dict[tuple[str, str], tuple[str, str, str]]:
        found = compare([tmp_path], where=where)
        look = looks.look(found)
        return {
            (c.runs[0].record.choices["model"], c.runs[0].record.choices["clipping"]): (
                look.colour(c),
                look.marker(c),
                str(look.dash(c)),
            )
            for c in found.conditions
        }

    whole = lines()
    for where in (
        ["model=lstm"],
        ["clipping=none"],
        ["model!=my_cell"],
        ["model=another_cell", "clipping=global_norm"],
    ):
        part = lines(*where)
        assert part == {name: whole[name] for name in part}


def coloured(folder: Path) -> dict[str, tuple[str, str, int]]:
    """Colour, line and place of each run's condition, by its folder's name."""
    found = compare([folder])
    look = looks.look(found)
    return {
        run.folder.name: (look.colour(c), str(look.dash(c)), list(found.conditions).index(c))
        for c in found.conditions
        for run in c.runs
    }


@pytest.mark.parametrize(
    ("before", "added"),
    [
        ({"optimizer.lr": ("0.1", "0.01", "1.0")}, {"model.cell.hidden_size": "128"}),
        ({"optimizer.lr": ("0.1", "0.01", "1.0")}, {"model": "lstm"}),
        ({"model.cell.hidden_size": ("8", "16")}, {"optimizer.lr": "0.5"}),
        ({"clipping.max_norm": ("1.0", "2.0", "4.0")}, {"model": "my_cell"}),
        ({"model": ("my_cell", "rnn", "b")}, {"clipping": "value"}),
        ({"model": ("my_cell", "rnn", "b")}, {"dataset": "other"}),
    ],
)
def test_a_factor_that_added_runs_vary_anew_takes_nobodys_colour(
    tmp_path: Path, before: dict[str, tuple[str, ...]], added: dict[str, str]
) -> None:
    ((factor, options),) = before.items()
    (new,) = added
    one = {"clipping.max_norm": 1.0}.get(factor)
    for place, option in enumerate(options):
        folder = write_run(
            tmp_path / str(place), threshold=one, factors={factor: option}, distances=9,
            start=f"2026-01-01T00:00:{place:02d}+00:00",
        )  # fmt: skip
        record = runs.read(folder)
        runs.write(dataclasses.replace(record, overrides=[f"{factor}={option}"]), folder)
    first = coloured(tmp_path)
    for place, option in enumerate(options):
        folder = write_run(
            tmp_path / f"later{place}", threshold=one, factors={factor: option, **added}, distances=9,
            start=f"2026-01-02T00:00:{place:02d}+00:00",
        )  # fmt: skip
        record = runs.read(folder)
        runs.write(dataclasses.replace(record, overrides=[f"{factor}={option}", f"{new}={added[new]}"]), folder)
    more = coloured(tmp_path)
    assert len({place for _, _, place in more.values()}) == 2 * len(options)
    assert {name: more[name][:2] for name in first} == {name: look[:2] for name, look in first.items()}
    assert sorted(first, key=lambda name: first[name][2]) == sorted(first, key=lambda name: more[name][2])


def test_every_figure_draws_a_condition_in_its_colour(tmp_path: Path) -> None:
    grid(tmp_path, ["rnn", "my_cell", "gru"])
    found = compare([tmp_path])
    look = looks.look(found)
    for name in ("vanishing", "rates", "learning"):
        (drawn,) = figures.draw(found, files=False, names=[name])
        for place, condition in enumerate(found.conditions):
            marked = re.findall(rf'data-c="{place}">\s*<path[^>]*?style="([^"]*)"', drawn.svg)
            lines = [one for one in marked if "fill: none" in one]
            assert lines, name
            assert {re.findall(r"stroke: (#\w+)", one)[0] for one in lines} == {look.colour(condition)}, name


def test_conditions_of_one_figure_are_told_apart_without_colour(tmp_path: Path) -> None:
    for place, (gain, bias) in enumerate(itertools.product(("16", "32"), ("0", "0.1", "0.2", "0.3", "1", "5"))):
        factors = {"model.cell.hidden_size": gain, "optimizer.lr": bias}
        write_run(tmp_path / str(place), factors=factors, distances=9)
    found = compare([tmp_path])
    look = looks.look(found)
    assert len(found.conditions) == 12
    plain = {(look.marker(c), str(look.stroke(c)["linestyle"])) for c in found.conditions}
    assert len(plain) == 12


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_lines_and_words_stand_out_from_the_page() -> None:
    css = Path(report.__file__).with_name("page.css").read_text(encoding="utf-8")
    themes = [dict(re.findall(r"--([\w]+): (#\w{6})", block)) for block in re.split(r"(?<!-)color-scheme: ", css)[1:4]]
    light, dark, chosen = themes
    assert dark == chosen
    assert tuple(light[f"c{n}"] for n in range(8)) == COLOURS
    assert tuple(dark[f"c{n}"] for n in range(8)) == DARK
    for theme in (light, dark):
        assert all(contrast(theme[f"c{n}"], theme["paper"]) >= 3 for n in range(8))
        for ground in ("paper", "card", "lit"):
            assert all(
                contrast(theme[ink], theme[ground]) >= 4.5 for ink in ("ink", "muted", "link", "bad", "good", "odd")
            )


def test_there_are_enough_of_each() -> None:
    assert len(COLOURS) == len(DARK) == len(MARKERS) == len(palette.SHAPES) == 8
    assert len(DASHES) == 4
