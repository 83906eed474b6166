"""The page in a browser, from a file, with the network off: what a reader does on it.

Needs Playwright's Python package and Debian's Chromium (`apt-get install chromium`), else it is skipped; the check of
accessibility also needs axe-core, as the wheel axe-playwright-python has it.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from folders import STEPS, write_run
from optional import write_optional_tables

from rnn_research import report
from rnn_research.compare import Comparison, compare
from rnn_research.compare.page_data import difference_within, page_data, rates_within

playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")

QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
EVIL = '</script><script>alert("&")</script>'
Opened = Callable[..., Any]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Three models with and without clipping, three seeds; one name is HTML."""
    root = tmp_path_factory.mktemp("study")
    for place, (model, gamma) in enumerate({"rnn": 0.6, "lstm": 0.98, EVIL: 1.1}.items()):
        for clipped in (None, 1.0):
            for seed in range(3):
                minute = 10 * place + 3 * bool(clipped) + seed
                folder = write_run(
                    root / f"{minute}-{place}-{clipped}-{seed}",
                    {step: gamma * (1 + 0.004 * seed) * (1 - 0.0005 * step) for step in STEPS},
                    seed=seed,
                    accuracy=0.8 + 0.01 * seed,
                    threshold=clipped,
                    factors={"model": model},
                    start=f"2026-01-01T00:{minute:02d}:00+00:00",
                )
                write_optional_tables(folder, seed)
                (folder / "run.log").write_text(f"the last line of seed {seed} {EVIL}\n")
    return compare([root])


@pytest.fixture(scope="module")
def file(compared: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report.write(compared, tmp_path_factory.mktemp("out"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield running
        running.close()


@pytest.fixture
def opened(browser: Any, file: Path) -> Iterator[Opened]:
    """Opens the page with the network off; at the end nothing was said on the console, and nothing asked for."""
    said: list[str] = []
    asked: list[str] = []
    contexts = []

    def opening(fragment: str = "", **options: Any) -> Any:
        context = browser.new_context(offline=True, **{"viewport": {"width": 1440, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{file.as_uri()}{fragment}")
        return page

    yield opening
    for context in contexts:
        context.close()
    assert said == []
    assert {url.partition(":")[0] for url in asked} <= {"file", "data", "blob"}
    assert [url for url in asked if url.startswith("file") and not url.startswith(file.as_uri())] == []


def rows(page: Any) -> list[str]:
    """The rows of the first table that can be seen, by their number."""
    return page.eval_on_selector_all(
        "#main tbody tr", "all => all.filter(one => one.offsetParent).map(one => one.dataset.c)"
    )


def drawn(page: Any) -> set[str]:
    """The conditions that can be seen in the first figure."""
    found = page.eval_on_selector_all(
        "[data-figure=vanishing] .cond",
        "all => all.filter(one => getComputedStyle(one).display !== 'none').map(one => one.dataset.c)",
    )
    return set(found)


def fragment(page: Any) -> str:
    return unquote(page.evaluate("location.hash"))


def middle(page: Any, share: float = 0.5, height: float = 0.5) -> tuple[float, float]:
    """A place inside the first panel of the first figure."""
    box = page.locator("[data-figure=vanishing] .over").first.bounding_box()
    return box["x"] + share * box["width"], box["y"] + height * box["height"]


def test_the_first_screen_shows_question_verdict_figure_and_table(opened: Opened) -> None:
    for options in ({}, {"java_script_enabled": False}):
        page = opened(**options)
        for what in ("h1", ".lead >> nth=0", "[data-figure=vanishing] svg", "#main tbody tr >> nth=5"):
            box = page.locator(what).first.bounding_box()
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= 900, what
        assert page.locator("#main tbody tr").count() == 6


def test_a_filter_hides_conditions_everywhere_and_is_in_the_link(opened: Opened) -> None:
    page = opened()
    assert rows(page) == [str(c) for c in range(6)]
    page.locator(".menu[data-factor=model] summary").click()
    page.locator(".menu[data-factor=model] input[data-option=rnn]").uncheck()
    assert rows(page) == ["2", "3", "4", "5"]
    assert drawn(page) == {"2", "3", "4", "5"}
    assert "hide=model:rnn" in fragment(page)
    assert page.locator("#count").inner_text() == "4 of 6"
    assert page.locator("#whole").inner_text().endswith("are of all 6 conditions; 4 are shown.")
    page.keyboard.press("Escape")
    page.locator("#reset").click()
    assert rows(page) == [str(c) for c in range(6)]
    assert page.locator("#whole").is_hidden()
    assert fragment(page) == ""


def test_the_link_brings_back_what_was_seen(opened: Opened) -> None:
    page = opened("#hide=clipping%3Anone&d=4-20&step=100&base=lstm%2C%20global_norm&sort=0-&theme=dark")
    assert sorted(rows(page)) == ["1", "3", "5"]
    assert "slope, d 4–20" in page.locator("#main thead").inner_text()
    assert page.locator("#main tr.base").get_attribute("data-c") == "3"
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.locator("output[for=step]").inner_text() == "100"
    for broken in ("#d=9-2", "#step=7&base=nobody&hide=x&run=%E0%A4%A", "#sort=99-", "#&=&&"):
        assert len(rows(opened(broken))) == 6


def test_a_condition_lights_up_in_every_figure_from_table_and_figure(opened: Opened) -> None:
    page = opened()
    page.locator("#main tbody tr").nth(2).hover()
    assert page.locator("svg.lighting").count() >= 3
    lit = page.eval_on_selector_all(".cond.lit", "all => all.map(one => one.dataset.c)")
    assert set(lit) == {"2"}
    page.mouse.move(*middle(page, 0.6, 0.02))
    for height in np.linspace(0.02, 0.98, 40):
        page.mouse.move(*middle(page, 0.6, float(height)))
        if page.locator(".tip").is_visible():
            break
    assert re.search(r"d = \d+, ×", page.locator(".tip").inner_text())
    page.mouse.move(5, 5)
    assert page.locator("svg.lighting").count() == 0


def test_pointing_at_a_panel_of_an_activation_says_its_share(opened: Opened) -> None:
    page = opened()
    panels = page.locator("[data-figure=saturation] .over")
    assert panels.count() == 2  # f and hidden; the time scale has a unit of its own
    for place, share in ((0, 0.2), (1, 0.02)):  # at step 100
        panels.nth(place).scroll_into_view_if_needed()
        box = panels.nth(place).bounding_box()
        for height in np.linspace(0.05, 0.95, 30):
            page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + float(height) * box["height"])
            if page.locator(".tip").is_visible():
                break
        found = re.search(r": step 100, ([\d.]+)$", page.locator(".tip").inner_text())
        assert found is not None
        assert float(found[1]) == pytest.approx(share)


def test_a_panel_of_a_condition_is_hidden_with_it(opened: Opened) -> None:
    page = opened("#hide=clipping%3Anone")
    for name in ("norm_map", "foreseen", "confusion"):
        panels = page.locator(f"[data-figure={name}] .cond:visible")
        found = set(panels.evaluate_all("all => all.map(one => one.dataset.c)"))
        assert found == {"1", "3", "5"}, name


def test_a_brushed_range_gives_the_slopes_that_python_gives(opened: Opened, compared: Comparison) -> None:
    page = opened()
    (x, y), (to, _) = middle(page, 0.2), middle(page, 0.7)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(to, y, steps=5)
    page.mouse.up()
    low, high = map(int, re.findall(r"d=(\d+)-(\d+)", fragment(page))[0])
    assert 3 < low < high < 30
    page.locator("#base").select_option("0")
    details = page_data(compared).details
    for row in page.locator("#main tbody tr").all():
        condition = compared.conditions[int(row.get_attribute("data-c"))]
        first = compared.conditions[0]
        found = [details[run.folder] for run in condition.runs]
        expected = rates_within(found, 200, low, high)
        assert expected is not None
        cells = row.locator("td.added")
        assert float(cells.nth(0).get_attribute("data-v")) == pytest.approx(expected.mean, abs=1e-5)
        ends = re.findall(r"[−\d.]+", cells.nth(0).locator(".iv").inner_text())
        assert [float(end.replace("−", "-")) for end in ends] == pytest.approx(
            [expected.low, expected.high], rel=6e-3, abs=1e-5
        )
        if condition is first:
            continue
        pairs = [[(str(run.record.seed), details[run.folder]) for run in c.runs] for c in (condition, first)]
        less = difference_within(*pairs, 200, low, high)
        assert less is not None
        assert float(cells.nth(1).get_attribute("data-v")) == pytest.approx(less.mean, abs=1e-5)
    page.mouse.click(x, y)
    assert "d=" not in fragment(page)


def test_the_slider_steps_through_training(opened: Opened) -> None:
    page = opened()
    before = page.locator("[data-figure=vanishing] .cond:not(.old)").count()
    slider = page.locator("#step")
    slider.focus()
    slider.press("Home")
    assert page.locator("output[for=step]").inner_text() == "0"
    moved = page.locator("[data-figure=vanishing] .moved")
    assert moved.count() == 6
    assert "at step 0" in page.locator("#vanishing-axes_1").inner_html()
    path = moved.first.locator("path[style*='fill: none']").get_attribute("d")
    slider.press("ArrowRight")
    assert moved.first.locator("path[style*='fill: none']").get_attribute("d") != path
    slider.press("End")
    assert moved.count() == 0
    assert page.locator("[data-figure=vanishing] .cond:not(.old)").count() == before
    page.locator("#play").click()
    page.wait_for_timeout(700)
    assert page.locator("#play").get_attribute("aria-label") == "stop"
    page.locator("#play").click()
    assert page.locator("#play").get_attribute("aria-label") == "play through training"


def test_the_table_is_sorted_by_a_column(opened: Opened) -> None:
    page = opened()
    button = page.locator("#main thead button", has_text="far ratio")
    button.click()
    ascending = [row[0] for row in rows(page)]
    assert ascending[:2] in (["0", "1"], ["1", "0"])
    button.click()
    assert rows(page)[-1] in ("0", "1")
    assert re.search(r"sort=\d+-", fragment(page))


def test_a_run_is_opened_with_its_curves_log_and_difference(opened: Opened) -> None:
    page = opened()
    page.locator("#main tbody tr").nth(2).locator("button.open").click()
    dialog = page.locator("dialog")
    assert dialog.is_visible()
    assert "lstm, no clipping, seed 0" in dialog.inner_text()
    assert "the last line of seed 0" in dialog.locator("#log").inner_text()
    assert dialog.locator("svg").count() == 2
    assert dialog.locator("image").get_attribute("href").startswith("data:image/png")
    dialog.locator("#other").select_option("0")
    told = dialog.locator("table").first.inner_text()
    assert "model" in told
    assert "other=" in fragment(page)
    dialog.get_by_text("next seed").click()
    assert "seed 1" in dialog.inner_text()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert fragment(page) == ""


def test_data_and_pictures_are_saved(opened: Opened, compared: Comparison) -> None:
    page = opened("#hide=model%3Arnn")
    for name in ("vanishing", "rates", "clipping", "learning"):
        with page.expect_download() as waiting:
            page.get_by_label(f"save the data of {name} as CSV").click()
        text = Path(waiting.value.path()).read_text(encoding="utf-8")
        table = list(csv.DictReader(io.StringIO(text)))
        assert {row["model"] for row in table} == {"lstm", EVIL}
        with page.expect_download() as waiting:
            page.get_by_label(f"save the picture of {name} as SVG").click()
        picture = Path(waiting.value.path()).read_text(encoding="utf-8")
        assert ElementTree.fromstring(picture).tag.endswith("svg")
        assert "var(" not in picture
    curve = compared.conditions[2].chosen
    assert curve is not None
    with page.expect_download() as waiting:
        page.get_by_label("save the data of vanishing as CSV").click()
    rows_of = [
        row
        for row in csv.DictReader(io.StringIO(Path(waiting.value.path()).read_text(encoding="utf-8")))
        if (row["model"], row["clipping"]) == ("lstm", "none")
    ]
    assert [float(row["log_ratio"]) for row in rows_of] == pytest.approx(curve.curve.mean.tolist(), rel=1e-4)


def test_the_theme_follows_the_system_until_it_is_chosen(opened: Opened) -> None:
    def paper(page: Any) -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light, dark = opened(color_scheme="light"), opened(color_scheme="dark")
    assert paper(light) == "rgb(255, 255, 255)"
    assert paper(dark) != paper(light)
    light.locator("#theme").click()
    assert paper(light) == paper(dark)
    assert "theme=dark" in fragment(light)


def test_the_keyboard_reaches_everything(opened: Opened) -> None:
    page = opened()
    reached = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(() => { const at = document.activeElement; return at.id || at.getAttribute('aria-label') "
                "|| at.textContent.slice(0, 40); })()"
            )
        )
    for wanted in ("model", "clipping", "step", "play", "from distance", "base", "reset", "theme", "far ratio [95%]"):
        assert any(wanted in one for one in reached), wanted
    assert any("open the runs of lstm" in one for one in reached)
    page.locator(".menu summary").first.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert page.locator("#count").inner_text() == "4 of 6"
    page.keyboard.press("Escape")
    assert page.locator(".menu[open]").count() == 0


def test_a_narrow_screen_is_not_wider_than_itself(opened: Opened) -> None:
    page = opened(viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#main button.open").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_it_prints_with_tables_whole_and_without_tools(opened: Opened) -> None:
    page = opened()
    page.set_viewport_size({"width": 780, "height": 1000})
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 780
    assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--paper').trim()") == "#ffffff"
    assert not page.locator("#tools").is_visible()
    assert not page.locator(".saves").first.is_visible()
    assert page.locator("dl").is_visible()


def test_names_that_are_html_are_text(opened: Opened) -> None:
    page = opened()
    assert page.evaluate("document.scripts.length") == 2
    assert page.locator("#main tbody tr").nth(4).locator("th").inner_text().strip() == EVIL


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("state", ["", "#d=3-20&base=rnn%2C%20no%20clipping", "run"])
def test_axe_finds_nothing_against_wcag_aa(opened: Opened, theme: str, state: str) -> None:
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.skip("needs axe-core: pip install axe-playwright-python")
    page = opened("" if state == "run" else state, color_scheme=theme)
    if state == "run":
        page.locator("#main button.open").first.click()
        page.locator("#other").select_option("5")
    page.evaluate(Path(found.origin).with_name("axe.min.js").read_text(encoding="utf-8"))
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
    told = page.evaluate("tags => axe.run(document, {runOnly: tags})", tags)
    assert len(told["passes"]) > 15
    assert [(one["id"], [node["html"][:160] for node in one["nodes"][:3]]) for one in told["violations"]] == []
