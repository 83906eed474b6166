"""The page's base layer, axes, files and data: what is said without a script, and what the script is given."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from folders import ENDS, SOME_OR_EVERY, STEPS, leave_out, write_run
from matplotlib.figure import Figure

from rnn_research import report
from rnn_research.compare import Comparison, compare
from rnn_research.compare.page_data import (
    MOST_STEPS,
    PageData,
    beginnings,
    difference_within,
    page_data,
    rate_within,
    rates_within,
    started,
)
from rnn_research.curves import curve, decay
from rnn_research.records import runs
from rnn_research.report import figures, interactive, looks, prose, style
from rnn_research.report.decades import DecadeLocator, power_of_ten
from rnn_research.report.figures import Drawing
from rnn_research.report.interactive import escaped


def study(
    root: Path, models: tuple[str, ...] = ("rnn", "lstm"), seeds: int = 3, steps: tuple[int, ...] = STEPS
) -> Comparison:
    for place, model in enumerate(models):
        for seed in range(seeds):
            gammas = {step: (0.7 + 0.2 * (place % 2) + 0.01 * seed) * (1 - step / 4000) for step in steps}
            folder = write_run(root / f"{place}-{seed}", gammas, seed=seed, factors={"model": model}, distances=17)
            (folder / "run.log").write_text(f"one\ntwo of {model}\n")
    return compare([root])


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def drawings(compared: Comparison) -> list[Drawing]:
    """The figures of the page's look, as SVG."""
    return figures.draw(compared, data=page_data(compared), files=False)


@pytest.fixture(scope="module")
def page(compared: Comparison, drawings: list[Drawing], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(compared, drawings, tmp_path_factory.mktemp("out"), "screen")


@pytest.fixture(scope="module")
def on_paper(compared: Comparison, drawings: list[Drawing], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(compared, drawings, tmp_path_factory.mktemp("paper"), "paper")


def written(compared: Comparison, drawings: list[Drawing], out: Path, look: str) -> Path:
    """The page with these figures, and the first as a file of another look."""
    draw = figures.draw

    def known(comparison: Comparison, look: str = "screen", data: PageData | None = None, files: bool = True) -> Any:
        return drawings if look == "screen" else draw(comparison, look, data, False, ["vanishing"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "draw", known)
        return report.write(compared, out, look=look)


def given(page: Path) -> dict:
    found = re.findall(r'<script type="application/json" id="given">(.*?)</script>', page.read_text(), re.DOTALL)
    return json.loads(found[0])


# -- axes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decade", "said"), [(0, "1"), (1, "10"), (-1, "0.1"), (-2, "10⁻²"), (-0.5, "0.32"), (0.30103, "2"), (3, "10³")]
)
def test_a_tick_says_where_it_stands(decade: float, said: str) -> None:
    assert power_of_ten(decade) == said


@pytest.mark.parametrize("low", [-15.3, -3.0, -1.4, -0.5, -0.05, 0.2])
@pytest.mark.parametrize("span", [0.11, 0.5, 1.3, 2.0, 4.7, 16.0, 38.0])
def test_ticks_are_few_in_view_and_no_two_say_the_same(low: float, span: float) -> None:
    ticks = DecadeLocator().tick_values(low, low + span)
    said = [power_of_ten(tick) for tick in ticks]
    assert 1 <= len(ticks) <= 9
    assert len(set(said)) == len(said)
    assert all(low - 1e-6 <= tick <= low + span + 1e-6 for tick in ticks)
    for tick, text in zip(ticks, said, strict=True):
        if "⁻" not in text and "10" not in text:
            assert math.isclose(float(text), 10**tick, rel_tol=0.005)


# -- the base layer -------------------------------------------------------------------------------------


def test_the_first_screen_comes_first_and_needs_no_script(compared: Comparison, page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    order = [html.index(part) for part in ("<h1>", 'class="lead"', 'data-figure="vanishing"', 'id="main"', "<h2>")]
    assert order == sorted(order)
    assert "Does the gradient vanish, for which model?" in html
    assert html.count("<caption>") == html.count("<table")
    assert 'scope="row"' in html
    assert html.count('role="img"') == html.count("<figure") + html.count("<template")


def test_the_policy_allows_our_script_and_nothing_else(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; script-src 'sha256-{digest}'; ")
    assert not re.search(r"\beval\b|new Function|innerHTML|document\.write|fetch\(|XMLHttp|import\(", script)


def test_without_figures_there_is_no_script_at_all(compared: Comparison, tmp_path: Path) -> None:
    html = report.write(compared, tmp_path, figures=False).read_text(encoding="utf-8")
    assert "<script" not in html
    assert "script-src 'none'" in html
    assert 'id="main"' in html


def test_many_conditions_are_counted_and_their_cards_folded_behind_the_table(tmp_path: Path) -> None:
    found = study(tmp_path, tuple(f"model_{n}" for n in range(30)), 1, ENDS)
    said = prose.verdict(found)
    assert re.search(r"in \d+ of 30 conditions", said)
    assert len(re.sub("<[^>]*>", "", said)) < 700
    html = report.write(found, tmp_path / "out", figures=False).read_text(encoding="utf-8")
    assert html.index("<table") < html.index('<ul class="conditions">')
    assert "<summary>In words, all 30</summary>" in html
    with style.styled():
        look = looks.look(found)
        made = figures.vanishing.curves(found, look)
        assert made is not None
        made.figure.canvas.draw()
        (legend,) = made.figure.legends
        assert legend.get_window_extent().height < 0.25 * made.figure.bbox.height


@pytest.mark.parametrize("option", ["0", "0.5", "-3", "1e-3", "True", "null"])
def test_an_option_that_is_a_number_is_said_with_its_factor(tmp_path: Path, option: str) -> None:
    for place, value in enumerate((option, "named")):
        write_run(tmp_path / str(place), factors={"optimizer": value})
    html = report.write(compare([tmp_path]), tmp_path / "out", figures=False).read_text(encoding="utf-8")
    assert f"optimizer {option}" in html
    assert "optimizer named" not in html


# -- files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("look", ["screen", "paper"])
@SOME_OR_EVERY
def test_pdfs_are_small_and_carry_their_letters(
    every: bool, look: str, compared: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_out(monkeypatch, "svg", "png")
    drawn = figures.draw(compared, look, page_data(compared), names=None if every else ["vanishing"])
    assert len(drawn) > 5 or not every
    for pdf in (drawing.pdf for drawing in drawn):
        assert pdf.startswith(b"%PDF")
        assert len(pdf) < 300_000
        fonts = re.findall(rb"/Subtype /(Type\w+|TrueType|CIDFontType\d)", pdf)
        assert fonts
        assert b"Type3" not in fonts
        assert b"/FontFile2" in pdf


def test_files_on_paper_differ_and_the_page_does_not(
    compared: Comparison, page: Path, on_paper: Path, tmp_path: Path
) -> None:
    assert on_paper.read_bytes() == page.read_bytes()
    assert "DejaVu Serif" in on_paper.with_name("vanishing.svg").read_text()
    assert "DejaVu Serif" not in page.with_name("vanishing.svg").read_text()
    with pytest.raises(KeyError):
        report.write(compared, tmp_path, look="wood")


def test_each_file_is_drawn_once_with_all_where_matplotlib_finds_it_by_drawing_twice(
    compared: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, drawn = Figure.draw, []
    monkeypatch.setattr(Figure, "draw", lambda self, renderer: (drawn.append(self), draw(self, renderer))[1])
    with style.styled():
        look = looks.look(compared)
        once, twice = (figures.vanishing.curves(compared, look) for _ in range(2))
        assert once is not None
        assert twice is not None
        svg, _ = style.svg(once.figure), style.png(once.figure)
        assert drawn == [once.figure] * 2
        monkeypatch.setattr(style, "_arrange", lambda figure: None)
        assert style.svg(twice.figure) == svg
    assert drawn[2:] == [twice.figure] * 2


def test_captions_say_how_many_and_axes_have_names(drawings: list[Drawing]) -> None:
    for drawing in drawings:
        assert re.search(r"n = (3 seeds a condition|6 runs)\.", drawing.caption), drawing.name
        assert re.search("optimiser step|distance d|slope of the vanishing curve", drawing.svg)


# -- what the script is given ---------------------------------------------------------------------------


def test_the_block_is_the_comparison(compared: Comparison, page: Path) -> None:
    block = given(page)
    assert [one["label"] for one in block["conditions"]] == ["rnn", "lstm"]
    assert block["steps"] == list(STEPS)
    assert block["step"] == STEPS[-1]
    for place, condition in enumerate(compared.conditions):
        assert condition.chosen is not None
        series = block["figures"]["vanishing"]["series"][place]["columns"]
        assert series["distance"] == condition.chosen.curve.x.tolist()
        assert series["log_ratio"] == pytest.approx(condition.chosen.curve.mean.tolist(), rel=1e-4)
        _, y = block["conditions"][place]["training"][str(STEPS[-1])]
        assert y == pytest.approx(condition.chosen.curve.mean.tolist(), rel=1e-4)
    assert [run["seed"] for run in block["runs"]] == [0, 1, 2, 0, 1, 2]
    assert block["runs"][4]["log"] == ["one", "two of lstm"]
    assert block["runs"][0]["config"]["model"] == "rnn"
    assert "optimizer" in block["common"]
    assert block["t"][2] == pytest.approx(scipy.stats.t.ppf(0.975, 2), rel=1e-12)


def test_where_axes_lie_is_where_they_are_drawn(page: Path) -> None:
    panel = given(page)["figures"]["vanishing"]["panels"][0]
    svg = page.with_name("vanishing.svg").read_text()
    (path,) = re.findall(
        r'<g id="patch_2">\s*<path d="M ([\d.]+) ([\d.]+)\s*L ([\d.]+) [\d.]+\s*L [\d.]+ ([\d.]+)', svg
    )
    left, bottom, right, top = map(float, path)
    assert panel["x"] == pytest.approx([left, right], abs=0.01)
    assert panel["y"] == pytest.approx([bottom, top], abs=0.01)


@pytest.mark.parametrize("text", ["</script><script>", "<!--", "\u2028", '"\\', "]]>"])
def test_no_text_ends_the_block(text: str) -> None:
    said = escaped({"name": text})
    assert "<" not in said
    assert json.loads(said) == {"name": text}


def test_a_block_has_no_numbers_that_json_lacks(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", {0: 0.9, 100: float("nan")}, accuracy=float("nan"))
    table = runs.read_table(folder, "adjoint")
    assert table is not None
    table["hidden"][::3] = np.inf
    runs.write_table(folder, "adjoint", table)
    with style.styled():
        found = compare([tmp_path])
        html = interactive.layer(found, figures.draw(found, files=False), page_data(found))
    assert "NaN" not in html.partition("<script>")[0]
    assert "Infinity" not in html.partition("<script>")[0]


def test_the_slope_within_all_distances_is_the_decay_rate(compared: Comparison) -> None:
    data = page_data(compared)
    for run in compared.runs:
        table = runs.read_table(run.folder, "adjoint")
        assert table is not None
        found = data.details[run.folder]
        last = found.curve[-1]
        assert rate_within(found.distance, last, 1, 16) == pytest.approx(decay(curve(table)).rate, abs=1e-9)
        assert rate_within(found.distance, last, 4, 4) != rate_within(found.distance, last, 4, 4)


def test_slopes_over_seeds_have_students_interval(compared: Comparison) -> None:
    data = page_data(compared)
    details = [[data.details[run.folder] for run in c.runs] for c in compared.conditions]
    found = rates_within(details[0], 200, 2, 9)
    assert found is not None
    slopes = np.log((0.7 + 0.01 * np.arange(3)) * (1 - 200 / 4000))
    low, high = scipy.stats.t.interval(0.95, 2, slopes.mean(), slopes.std(ddof=1) / math.sqrt(3))
    assert (found.mean, found.low, found.high) == pytest.approx((slopes.mean(), low, high), abs=1e-5)
    pairs = [[(str(seed), one) for seed, one in enumerate(group)] for group in details]
    less = difference_within(pairs[1], pairs[0], 200, 2, 9)
    assert less is not None
    assert less.mean == pytest.approx(
        np.mean(np.log(0.9 + 0.01 * np.arange(3)) - np.log(0.7 + 0.01 * np.arange(3))), abs=1e-5
    )
    assert difference_within(pairs[1], [("7", details[0][0])], 200, 2, 9) is None


def test_steps_are_few_and_the_ends_among_them(tmp_path: Path) -> None:
    write_run(tmp_path / "run", dict.fromkeys(range(0, 300, 5), 0.9), distances=5)
    data = page_data(compare([tmp_path]))
    assert len(data.steps) == MOST_STEPS
    assert (data.steps[0], data.steps[-1]) == (0, 295)


def test_of_many_distances_the_first_and_the_last_are_kept(tmp_path: Path) -> None:
    write_run(tmp_path / "run", 0.99, distances=300)
    (found,) = page_data(compare([tmp_path])).details.values()
    assert found.distance[[0, 1, -1]].tolist() == [0, 1, 299]
    assert len(found.distance) == 65


def test_runs_that_failed_count_where_they_started(tmp_path: Path) -> None:
    write_run(tmp_path / "a", factors={"model": "lstm"}, start="2026-01-01T00:00:02+00:00")
    write_run(tmp_path / "b", factors={"model": "rnn"}, start="2026-01-01T00:00:01+00:00", status="failed", error="no")
    write_run(tmp_path / "c", factors={"model": "gru"}, start="2026-01-01T00:00:03+00:00")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "run.json").write_text("{")
    assert started(beginnings(compare([tmp_path])), ["model"]) == ["rnn", "lstm", "gru"]


def test_a_name_in_any_script_is_drawn_without_a_word(tmp_path: Path) -> None:
    names = ("循环网络", "сеть", "🙂", "a b")
    for place, name in enumerate(names):
        write_run(tmp_path / str(place), factors={"model": name}, distances=5)
    found = compare([tmp_path])
    (drawn,) = figures.draw(found, names=["vanishing"])
    assert drawn.png
    assert drawn.pdf
    html = report.write(found, tmp_path / "out", figures=False).read_text(encoding="utf-8")
    assert all(name in html and name in drawn.svg for name in names)


def test_words_and_tables_need_no_matplotlib() -> None:
    told = "import sys; from rnn_research.report import page; print('matplotlib' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
