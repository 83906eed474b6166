"""What captions say n is: of what the figure draws, and not of all that there is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from folders import write_run
from matplotlib.collections import FillBetweenPolyCollection
from optional import write_optional_tables

from rnn_research.compare import Comparison, compare
from rnn_research.compare.breakdown import answers_by_feature, bins, breakdown
from rnn_research.compare.explained import ExplainedRates
from rnn_research.report import explaining, foreseen, looks, norms, style, vanishing
from rnn_research.report import success as success_figure
from rnn_research.statistics.censoring import reached_by
from rnn_research.statistics.factors import explained
from rnn_research.statistics.intervals import interval

RULE = {"metric": "accuracy", "bound": 0.9, "above": True}
ENDS = (50, 100, None, 100, None)


@pytest.fixture
def compared(tmp_path: Path) -> Comparison:
    """Five seeds: two without a table of clipping, three of what other strategies would have done, four with a rule."""
    for seed, step in enumerate(ENDS):
        rule = {} if seed == 4 else {"success": {**RULE, "step": step}}
        folder = write_run(tmp_path / str(seed), seed=seed, **rule)
        if seed < 2:
            (folder / "probes" / "clipping.npy").unlink()
        if seed < 3:
            write_optional_tables(folder, seed)
    return compare([tmp_path])


def test_captions_say_how_many_seeds_the_figure_has(compared: Comparison) -> None:
    with style.styled():
        look = looks.look(compared)
        made = [make(compared, look) for make in (norms.clipping, foreseen.foreseen, success_figure.success)]
    captions = [one.caption for one in made if one is not None]
    assert ["n = 3 seeds" in captions[0], "n = 3 seeds" in captions[1], "n = 4 runs" in captions[2]] == [True] * 3


def test_a_seed_whose_gradient_is_gone_is_not_in_the_curve_and_said_to_be_left_out(tmp_path: Path) -> None:
    for seed in range(4):
        folder = write_run(tmp_path / str(seed), 0.9, seed=seed)
        if seed == 3:
            table = np.load(folder / "probes" / "adjoint.npy")
            table["hidden"] = np.where(table["distance"] > 0, 0.0, table["hidden"])
            np.save(folder / "probes" / "adjoint.npy", table)
    found = compare([tmp_path])
    with style.styled():
        made = vanishing.curves(found, looks.look(found))
    assert made is not None
    assert "n = 3 seeds a condition. 1 whose gradient is gone, overflows or underflows is in" in made.caption


def test_the_share_solved_is_drawn_with_its_band(compared: Comparison) -> None:
    found = compared.conditions[0].success
    assert found is not None
    plain = reached_by([50, 100, 100], [201])
    assert plain is not None
    for step, low, share, high in zip(plain.step, plain.low, plain.share, plain.high, strict=True):
        (place,) = np.flatnonzero(found.step == step)
        assert (found.low[place], found.share[place], found.high[place]) == pytest.approx((low, share, high))
    with style.styled():
        made = success_figure.success(compared, looks.look(compared))
        assert made is not None
        (band,) = (one for one in made.figure.axes[0].collections if isinstance(one, FillBetweenPolyCollection))
    assert "Band: 95% interval" in made.caption
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].min() == pytest.approx(found.low.min())
    assert corners[:, 1].max() == pytest.approx(found.high.max())


def test_levels_that_are_pooled_are_no_seeds_of_the_answers() -> None:
    """Two levels a seed, which are right in 1 and 0, 1 and .5, and 1 and 1: of the seeds that is .5, .75, 1."""

    def answered(right: float) -> dict:
        table = np.zeros(8, [("set", "U4"), ("depth", "i8"), ("correct", "f8")])
        table["set"], table["depth"], table["correct"] = "test", np.arange(8) % 2, right
        return answers_by_feature(table)

    seeds = [[answered(1.0), answered(other)] for other in (0.0, 0.5, 1.0)]
    found = breakdown(seeds, "depth", bins([one for seed in seeds for one in seed])["depth"])
    assert found is not None
    expected = interval([0.5, 0.75, 1.0])
    assert expected is not None
    assert [(one.mean, one.low, one.high, one.n) for one in found.mean if one] == [
        pytest.approx((expected.mean, expected.low, expected.high, 3))
    ] * 2
    assert found.samples == (4, 4)


def test_the_mean_of_the_largest_numbers_is_no_infinity() -> None:
    with np.errstate(over="ignore"):
        found = interval([1e308, 1.1e308, 1.2e308])
    assert found is not None
    assert found.mean == pytest.approx(1.1e308)


@pytest.mark.parametrize(("apart", "overlap"), [(3, False), (1, True)])
def test_shares_of_uneven_settings_that_are_over_one_together_are_said_to_overlap(apart: int, overlap: bool) -> None:
    """The number is a - b: where a and b mostly go together each explains 75% of the little that is left."""
    one, other = [0] * 3 + [1] * 3 + [0] * apart + [1] * apart, [0] * 3 + [1] * 3 + [1] * apart + [0] * apart
    noise = np.random.default_rng(0).normal(0, 0.01, len(one))
    found = explained(np.subtract(one, other) + noise, {"a": one, "b": other})
    assert (sum(term.share for term in found.terms) > 1) == overlap
    said = explaining.of(ExplainedRates(**vars(found), step=5))
    assert ("; shares overlap" in said) == overlap
