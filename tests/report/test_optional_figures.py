"""The figures of saturation, of what strategies would have done, of confusions, and of the norm over training."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from folders import ENDS, SOME_OR_EVERY, STEPS, leave_out, write_run
from optional import STRATEGIES, write_optional_tables

from rnn_research.compare import Comparison, compare
from rnn_research.compare.page_data import page_data
from rnn_research.records import runs
from rnn_research.report import figures, interactive_data
from rnn_research.report.figures import Drawing

NEW = ("norm_map", "saturation", "foreseen", "confusion")


def study(
    root: Path,
    models: tuple[str, ...] = ("rnn", "lstm"),
    classes: int = 3,
    seeds: int = 3,
    steps: tuple[int, ...] = STEPS,
) -> Comparison:
    for place, model in enumerate(models):
        for seed in range(seeds):
            gammas = {step: 0.8 + 0.01 * seed - step / 4000 for step in steps}
            folder = write_run(root / f"{place}-{seed}", gammas, seed=seed, factors={"model": model}, distances=17)
            write_optional_tables(folder, seed, classes)
    return compare([root])


def drawn(comparison: Comparison, *names: str, look: str = "screen", files: bool = False) -> dict[str, Drawing]:
    """The figures of these names, or all."""
    found = figures.draw(comparison, look, page_data(comparison), files, names or None)
    return {one.name: one for one in found}


def texts(drawing: Drawing) -> str:
    return " | ".join(re.findall(r"<text[^>]*>([^<]*)</text>", drawing.svg))


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def made(compared: Comparison) -> dict[str, Drawing]:
    return drawn(compared, *NEW)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("norm_map", ("norm of the adjoint", "distance d (applications)", "optimiser step")),
        ("saturation", ("share saturated", "optimiser step", "forget gate f", "state h", "cell applications")),
        ("foreseen", ("norm after / before", "cosine", "optimiser step", "global norm", "spam (skips steps)")),
        ("confusion", ("true class", "predicted class", "share of the true class", "n = 270 samples of 3 runs")),
    ],
)
def test_axes_have_names_in_words_and_the_caption_says_n(
    made: dict[str, Drawing], name: str, said: tuple[str, ...]
) -> None:
    assert not [one for one in said if one not in texts(made[name])]
    assert "n = " in made[name].caption + texts(made[name])


@pytest.mark.parametrize("look", ["screen", "paper"])
@SOME_OR_EVERY
def test_pdfs_embed_their_letters_and_are_small(
    every: bool, compared: Comparison, look: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_out(monkeypatch, "svg", "png")
    names = NEW if every else {"screen": ("norm_map", "confusion"), "paper": ("saturation", "foreseen")}[look]
    found = drawn(compared, *names, look=look, files=True)
    for name in names:
        assert len(found[name].pdf) < 300_000, name
        assert b"/FontFile2" in found[name].pdf, name
        assert b"/Subtype /Image" not in found[name].pdf, name


def test_a_figure_has_the_name_that_it_is_asked_for_by(compared: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out(monkeypatch, "svg")
    every = drawn(compared)
    assert len(every) > 9
    assert list(every) == [name for name in figures.FIGURES if name in every]


def test_every_condition_has_its_mark(made: dict[str, Drawing]) -> None:
    for name in NEW:
        assert set(re.findall(r'data-c="(\d+)"', made[name].svg)) == {"0", "1"}, name


def test_strategies_are_told_apart_without_colour(made: dict[str, Drawing]) -> None:
    from rnn_research.report.foreseen import _strokes

    pens = _strokes(list(STRATEGIES)).values()
    assert len({(pen["marker"], str(pen["linestyle"])) for pen in pens}) == len(STRATEGIES)
    assert len({pen["color"] for pen in pens}) == len(STRATEGIES)


def test_a_strategy_keeps_its_colour_when_another_is_not_there() -> None:
    from rnn_research.report.foreseen import _strokes

    both, one = _strokes(["global_norm", "value"]), _strokes(["value"])
    assert one["value"] == both["value"]


def test_the_page_s_script_is_given_what_is_drawn(compared: Comparison, made: dict[str, Drawing]) -> None:
    block = interactive_data.block(compared, page_data(compared), {one.name: one.panels for one in made.values()})
    series = {name: [one for one in block["figures"][name]["series"] if one["c"] == 0] for name in NEW}
    (gate,) = (one for one in series["saturation"] if one["at"] == "f")
    assert gate["columns"]["step"] == list(STEPS)
    np.testing.assert_allclose(gate["columns"]["value"], [0.1 + step / 1000 for step in STEPS])
    assert {panel["view"] for panel in block["figures"]["saturation"]["panels"]} == {"f", "hidden"}
    assert {one["at"] for one in series["foreseen"]} == set(STRATEGIES)
    confusion = compared.conditions[0].confusion
    assert confusion is not None
    assert [one["columns"]["samples"] for one in series["confusion"]] == confusion.count.tolist()
    assert [one["at"] for one in series["norm_map"]] == [f"step {step}" for step in STEPS]


def test_norms_over_training_are_the_geometric_mean_over_samples_then_seeds(compared: Comparison) -> None:
    over = page_data(compared).norms[0][100]
    expected = []
    for run in compared.conditions[0].runs:
        table = runs.read_table(run.folder, "adjoint")
        assert table is not None
        rows = table[(table["step"] == 100) & (table["distance"] == 5)]
        expected.append(np.log10(rows["hidden"]).mean())
    assert over.mean[list(over.x).index(5)] == pytest.approx(np.mean(expected), rel=1e-6)


@pytest.mark.parametrize("classes", [2, 13, 45])
def test_matrices_of_any_size(classes: int, tmp_path: Path) -> None:
    found = drawn(study(tmp_path, ("rnn",), classes, 1, ENDS), "confusion")["confusion"]
    assert len(found.svg) < 400_000
    assert bool(re.search(r"<text[^>]*font: 7px|size: 7px", found.svg)) or classes > 12


def test_many_conditions_and_classes_are_cut_with_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out(monkeypatch, "svg")
    found = drawn(study(tmp_path, tuple(f"net{place}" for place in range(14)), 4, 1, ENDS), "confusion", "foreseen")
    assert "The first 12 of 14 conditions are drawn." in found["confusion"].caption
    assert "The first 12 of 14 conditions are drawn." in found["foreseen"].caption


def test_without_the_tables_there_are_no_such_figures(tmp_path: Path) -> None:
    write_run(tmp_path / "one", 0.9)
    assert not drawn(compare([tmp_path]), "saturation", "foreseen", "confusion")


def test_a_saturation_that_is_nowhere_a_number_but_at_one_step_draws_nothing(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "one", 0.9)
    table = np.array([(0, 0, 0.5)], [("step", "i8"), ("layer", "i2"), ("f", "f8")])
    runs.write_table(folder, "saturation", table)
    assert "saturation" not in drawn(compare([tmp_path]), "saturation")


def test_an_infinite_time_scale_is_drawn_around(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "one", 0.9)
    rows = [(step, 0, 0.5, np.inf if step else 4.0) for step in STEPS]
    kinds = [("step", "i8"), ("layer", "i2"), ("f", "f8"), ("forget_timescale", "f8")]
    runs.write_table(folder, "saturation", np.array(rows, kinds))
    assert "saturation" in drawn(compare([tmp_path]), "saturation")
