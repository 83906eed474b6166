"""The table in every form, for any name: within 100 columns, sorted, and safe where it is read."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from folders import STEPS, write_run

from rnn_research import report
from rnn_research.compare import Comparison, NothingToCompare, compare
from rnn_research.report import fitting, formats, latex, sparkline
from rnn_research.report.fitting import KEPT, WORDS, TextColumn, cells_of, fitted, lines
from rnn_research.report.terminal import WIDTH

ODD = (
    "a" * 150 + "x" + "a" * 149,
    "a" * 150 + "y" + "a" * 149,
    '<script>alert("&")</script>',
    "$\\frac{1}{0}$ %_#^~ \\end{tabular}",
    "| a | `b` | *c* | [d](e) \\|",
    "\x1b[31mred\x07\r\nnext\tline",
    "右から左\u202eabc\u200b",
    "漢字" * 60,
    "é ß ø Ω λ − ∞ 🙂 ð",
    "=cmd()",
    "-1.5e-9",
    "[2pt]",
    "*",
    "nan",
    "  spaces  ",
    "?`!`--'''",
)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """A condition a name, with a metric that is NaN in one, and a table that is missing in another."""
    root = tmp_path_factory.mktemp("odd")
    for number, name in enumerate(ODD):
        write_run(
            root / f"run {number}",
            0.5 + 0.02 * number,
            factors={"model": name},
            accuracy=float("nan") if number == 3 else 0.5 + 0.01 * number,
            start=f"2026-01-01T00:{number:02d}:00+00:00",
        )
    (root / "run 4" / "probes" / "adjoint.npy").unlink()
    return compare([root])


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    root = tmp_path_factory.mktemp("plain")
    for minute, (model, gamma) in enumerate({"rnn": 0.6, "lstm": 0.97, "gru": 1.25}.items()):
        for seed in range(2):
            gammas = dict.fromkeys(STEPS, gamma * (1 + 0.001 * seed))
            start = f"2026-01-01T00:{minute:02d}:00+00:00"
            write_run(
                root / f"{model}{seed}",
                gammas,
                seed=seed,
                factors={"model": model},
                start=start,
                accuracy=0.7 - seed / 9,
            )
    return compare([root])


def models(comparison: Comparison) -> list[str]:
    return [condition.options["model"] for condition in comparison.conditions]


# -- the terminal --------------------------------------------------------------------------------------


def widest(text: str) -> int:
    return max(map(cells_of, text.splitlines()))


def test_odd_names_stay_within_the_terminal_and_obey_nothing(odd: Comparison):
    text = report.text(odd)
    assert widest(text) <= WIDTH
    assert all(sign == "\n" or sign.isprintable() for sign in text)


def test_names_that_differ_in_the_middle_still_differ(odd: Comparison):
    first, second = (line for line in report.text(odd).splitlines() if line.startswith("aaaaa") and "over" in line)
    assert first.split("  ")[0] != second.split("  ")[0]


@pytest.mark.parametrize("factors", [1, 3, 8, 20])
@pytest.mark.parametrize("conditions", [1, 12, pytest.param(44, marks=pytest.mark.slow)])
def test_any_number_of_factors_and_conditions_fits(tmp_path: Path, factors: int, conditions: int):
    for number in range(conditions):
        named = {f"group{index}.some_key_{index}": str(number * 10**index) for index in range(factors)}
        write_run(
            tmp_path / str(number), {0: 0.9, 10: 0.8}, factors={"model": f"m{number}", **named}, steps=2, distances=5
        )
    found = compare([tmp_path])
    text = report.text(found)
    assert widest(text) <= WIDTH
    assert f"{conditions} run" in text


def test_many_factors_that_are_all_needed_are_one_numbered_column(tmp_path: Path):
    for number in range(8):
        named = {f"model.other_long_factor_{index}": f"{'value' * 4}{number == index}" for index in range(8)}
        write_run(tmp_path / str(number), {0: 0.9}, factors=named, steps=2, distances=5)
    text = report.text(compare([tmp_path]))
    assert widest(text) <= WIDTH
    assert re.search(r"^#  condition", text, re.MULTILINE)
    assert re.findall(r"#\d", text) == []  # the number stands before the name


def test_the_number_of_a_shortened_name_is_the_same_at_every_width():
    cells = (*(f"{'a' * 20}{middle}{'b' * 20}" for middle in "xyx"), "c")
    for most in (8, 12, 30):
        column = fitting.capped(TextColumn("name", cells), most)
        assert [cell.partition("#")[2] for cell in column.cells] == ["1", "2", "1", ""]
        assert column.width <= most


def test_columns_are_left_out_in_a_fixed_order_and_named():
    shown = [
        TextColumn("name", ("a" * 60, "b" * 60), keep=KEPT),
        TextColumn("first to go", ("1" * 30, "2" * 30), True, 10),
        TextColumn("kept", ("3" * 30, "4"), True, 90),
        TextColumn("second to go", ("5" * 30, "6"), True, 20),
    ]
    kept, dropped = fitted(shown, 100)
    assert [column.title for column in kept] == ["name", "kept", "second to go"]
    assert dropped == ["first to go"]
    kept, dropped = fitted(shown, 60)
    assert dropped == ["first to go", "second to go"]
    assert widest(lines(kept)) <= 60
    assert kept[1].cells[0] == "3" * 30  # numbers are never cut where a column can go


def test_words_are_said_shorter_before_a_column_goes_and_never_cut():
    words = TextColumn(
        "verdict", ("weakens or vanishes over 7 (borderline)",), keep=99, readable=WORDS,
        brief=(("weakens or vanishes over 7",), ("weakens or vanishes",)),
    )  # fmt: skip
    shown = [TextColumn("name", ("rnn",), keep=KEPT), words, TextColumn("n", ("1" * 20,), True, 10)]
    for width, said, columns in ((80, 0, 3), (54, 1, 3), (48, 2, 3), (33, 1, 2), (26, 2, 2)):
        kept, _ = fitted(shown, width)
        assert kept[1].cells == (words.cells, *words.brief)[said]
        assert (len(kept), widest(lines(kept)) <= width) == (columns, True)


def test_a_table_that_fits_is_left_as_it_is():
    shown = [TextColumn("name", ("a", "bb"), keep=KEPT), TextColumn("n", ("1", "22"), True)]
    assert fitted(shown, 20) == (shown, [])
    assert lines(shown) == "name   n\na      1\nbb    22"


@pytest.mark.parametrize("width", [1, 2, 7, 30, 100])
def test_wrapped_words_stay_within_the_width(width: int):
    text = fitting.wrapped("a word " + "漢字" * 40 + " and more of them", max(width, fitting.LONGEST + 2), "  ")
    assert widest(text) <= max(width, fitting.LONGEST + 2)


# -- the sparkline -------------------------------------------------------------------------------------


def test_a_sparkline_is_the_curve_on_one_log_scale(plain: Comparison):
    readings = [condition.chosen for condition in plain.conditions]
    scale = sparkline.Scale(readings)
    drawn = [scale.drawn(reading) for reading in readings]
    assert all(len(text) == 16 for text in drawn)
    heights = [[sparkline.LEVELS.index(sign) for sign in text] for text in drawn]
    assert heights[0] == sorted(heights[0], reverse=True)  # 0.6^d falls
    assert heights[2] == sorted(heights[2])
    assert heights[2][-1] == 7
    assert len({row[0] for row in heights}) == 1  # all begin at the norm at distance 1
    assert scale.high == pytest.approx(np.log(1.25) * 31, rel=0.01)
    assert scale.low == pytest.approx(np.log(0.6) * 31, rel=0.01) or scale.low == scale.high - sparkline.MOST


@pytest.mark.parametrize("both", [True, False])
def test_what_keeps_looks_neither_like_what_falls_nor_like_what_rises(plain: Comparison, both: bool):
    found = plain.conditions[0].chosen
    assert found is not None

    def drawn_as(rate: float) -> Reading:
        return dataclasses.replace(found, curve=dataclasses.replace(found.curve, mean=rate * (found.curve.x - 1.0)))

    shown = [drawn_as(-2.0), drawn_as(1e-6), *([drawn_as(2.0)] if both else [])]
    scale = sparkline.Scale(shown)
    assert scale.high - scale.low <= sparkline.MOST * (1 + 1e-9)
    drawn = [scale.drawn(one) for one in shown]
    assert len(set(drawn[1])) == 1
    assert [sparkline.LEVELS.index(text[-1]) for text in drawn] == ([0, 4, 7] if both else [0, 7])


@pytest.mark.parametrize(("gamma", "sign"), [(1.0, "█"), (0.0, "0")])
def test_what_keeps_is_flat_and_what_is_zero_is_said(tmp_path: Path, gamma: float, sign: str):
    write_run(tmp_path / "run", 1.0 if gamma else 0.9)
    found = compare([tmp_path]).conditions[0].chosen
    assert found is not None
    if not gamma:
        log = np.where(found.curve.x > 8, -np.inf, found.curve.mean)
        found = dataclasses.replace(found, curve=dataclasses.replace(found.curve, mean=log))
    assert sparkline.Scale([found]).drawn(found)[-1] == sign


def test_where_there_is_no_curve_there_is_no_sparkline(odd: Comparison):
    assert sparkline.Scale([None]).drawn(None) == "–"


# -- sorted --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "order"),
    [
        ("rate", ["rnn", "lstm", "gru"]),
        ("-rate", ["gru", "lstm", "rnn"]),
        ("Far ratio", ["rnn", "lstm", "gru"]),
        ("far_ratio [95%]", ["rnn", "lstm", "gru"]),
        ("model", ["gru", "lstm", "rnn"]),
        ("-model", ["rnn", "lstm", "gru"]),
        ("verdict", ["rnn", "lstm", "gru"]),  # vanishes, weakens, explodes
        ("-step 200", ["gru", "lstm", "rnn"]),
        ("seeds", ["rnn", "lstm", "gru"]),  # equal: the order of the sweep
        ("-seeds", ["rnn", "lstm", "gru"]),
    ],
)
def test_conditions_are_sorted_by_any_column(plain: Comparison, by: str, order: list[str]):
    assert models(formats.ordered(plain, by)) == order
    assert models(plain) == ["rnn", "lstm", "gru"]


@pytest.mark.parametrize("by", ["rate", "-rate", "test_accuracy", "-test accuracy"])
def test_conditions_without_a_value_come_last(odd: Comparison, by: str):
    last = formats.ordered(odd, by).conditions[-1]
    assert (last.chosen if "rate" in by else last.metric) is None


def test_an_unknown_column_is_answered_with_the_nearest(plain: Comparison):
    with pytest.raises(NothingToCompare, match=r"sort: given raet, expected one of .*did you mean rate\?"):
        formats.ordered(plain, "-raet")


# -- other forms ---------------------------------------------------------------------------------------


def test_the_csv_is_read_back(odd: Comparison):
    rows = list(csv.DictReader(io.StringIO(formats.formatted(odd, "csv"))))
    assert len(rows) == len(ODD)
    assert not any(row["model"].startswith("=") for row in rows)


def test_the_json_is_strict(odd: Comparison):
    text = formats.formatted(odd, "json")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(text, parse_constant=refuse)
    assert text.isprintable() or all(sign == "\n" or sign.isprintable() for sign in text)


def test_markdown_renders_each_name_as_text(odd: Comparison):
    text = formats.formatted(odd, "markdown")
    assert len(text.splitlines()) == len(ODD) + 2
    counts = {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines()}
    assert len(counts) == 1  # every row has as many cells
    assert "<" not in text


def test_markdown_renders_by_another_hand(odd: Comparison):
    parser = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    html = parser.render(formats.formatted(odd, "markdown"))
    assert html.count("<tr>") == len(ODD) + 1
    assert html.count("<td") == len(ODD) * html.count("<th ")
    assert "&lt;script&gt;alert(&quot;&amp;&quot;)&lt;/script&gt;" in html
    assert "<code>" not in html
    assert "<em>" not in html
    assert "<a " not in html
    assert "| a | `b` | *c* | [d](e) \\|" in html


def test_latex_escapes_what_tex_would_obey(odd: Comparison):
    text = formats.formatted(odd, "latex")
    assert text.isascii()
    assert text.count(r"\end{tabular}") == 1
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    body = text.partition(r"\midrule")[2].partition(r"\bottomrule")[0]
    ends = [line for line in body.splitlines() if line]
    assert len(ends) == len(ODD)
    assert all(line.endswith(r" \\") for line in ends)
    assert len({len(re.findall(r"(?<!\\)&", line)) for line in ends}) == 1
    assert not any(line.startswith(("[", "*")) for line in ends)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("a_b & 50%", r"a\_b \& 50\%"),
        ("\\", r"\textbackslash{}"),
        ("é", r"\'{e}"),
        ("λ", r"$\lambda$"),
        ("Ω", r"$\Omega$"),
        ("漢", "U+6F22"),
        ("[1]", "{[}1]"),
    ],
)
def test_latex_of_single_signs(text: str, made: str):
    assert latex.escaped(text) == made


def test_latex_sets_numbers():
    assert latex.set_number("1.5e-09 [-0.5, 2]") == r"$1.5\times10^{-9}$ {[}$-0.5$, 2]"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_the_latex_compiles(odd: Comparison, tmp_path: Path):
    table = formats.formatted(odd, "latex")
    every = latex.escaped("".join(map(chr, [*range(32, 0x250), *range(0x370, 0x400), *range(0x2000, 0x2300)])))
    whole = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{table}\par {every}\end{{document}}"
    (tmp_path / "table.tex").write_text(whole)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"],
        cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "table.pdf").read_bytes().startswith(b"%PDF")
