"""What each factor explains: by hand in a balanced grid, by nested least squares in an unbalanced one."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import scipy.stats

from rnn_research.statistics.factors import Explained, Term, explained

CELLS = ("tanh", "lstm", "gru")
CLIPPING = ("none", "global")


def study(seed: int, seeds: int = 4, drop: int = 0) -> tuple[np.ndarray, dict[str, list[str]], list[int]]:
    """A rate over cells, clipping and seeds: planted effects, an interaction, seeds that differ, noise."""
    generator = np.random.default_rng(seed)
    runs = list(product(CELLS, CLIPPING, range(seeds)))
    runs = [runs[index] for index in sorted(generator.permutation(len(runs))[drop:])]
    rates = [
        CELLS.index(cell) * 0.6 - 0.3 * (clip == "none") + 0.4 * (cell == "gru" and clip == "none") + 0.2 * number
        for cell, clip, number in runs
    ]
    values = np.array(rates) + 0.2 * generator.normal(size=len(runs))
    return values, {"cell": [run[0] for run in runs], "clipping": [run[1] for run in runs]}, [run[2] for run in runs]


def named(found: Explained) -> dict[tuple[str, ...], Term]:
    return {term.factors: term for term in found.terms}


def test_a_balanced_grid_is_split_as_by_hand():
    values, factors, seeds = study(0)
    table = values.reshape(3, 2, 4)
    grand = table.mean()
    by_cell, by_clip, by_seed = (table.mean(axes) - grand for axes in ((1, 2), (0, 2), (0, 1)))
    both = table.mean(2) - grand - by_cell[:, None] - by_clip[None]
    squares = {
        ("cell",): 8 * (by_cell**2).sum(),
        ("clipping",): 12 * (by_clip**2).sum(),
        ("cell", "clipping"): 4 * (both**2).sum(),
    }
    total, of_seeds = ((table - grand) ** 2).sum(), 6 * (by_seed**2).sum()
    error = total - of_seeds - sum(squares.values())
    found = explained(values, factors, seeds)
    terms = named(found)
    assert (found.n, found.residual_df, found.blocked, found.interactions) == (24, 15, True, True)
    assert (found.total, found.residual, found.seeds) == pytest.approx((total, error, of_seeds / total), rel=1e-9)
    for name, df in ((("cell",), 2), (("clipping",), 1), (("cell", "clipping"), 2)):
        f = squares[name] / df / (error / 15)
        assert terms[name].df == df
        assert (
            terms[name].squares,
            terms[name].share,
            terms[name].f,
            terms[name].p,
            terms[name].omega,
        ) == pytest.approx(
            (
                squares[name],
                squares[name] / total,
                f,
                scipy.stats.f.sf(f, df, 15),
                (squares[name] - df * error / 15) / (total + error / 15),
            ),
            rel=1e-9,
        )
    assert sum(term.share for term in terms.values()) + found.seeds + error / total == pytest.approx(1)


def left(values: np.ndarray, *columns: list[object]) -> float:
    """The residual sum of squares of a constant and the levels of each of the columns, by their indicators."""
    design = np.concatenate([[[float(a == b) for b in sorted(set(c), key=str)] for a in c] for c in columns], axis=1)
    design = np.concatenate([np.ones((len(values), 1)), design], axis=1)
    return float(((values - design @ np.linalg.pinv(design) @ values) ** 2).sum())


@pytest.mark.parametrize("seed", range(4))
def test_an_unbalanced_grid_has_squares_of_type_two(seed: int):
    values, factors, seeds = study(seed, drop=7)
    cell, clip, both = factors["cell"], factors["clipping"], list(zip(*factors.values(), strict=True))
    found = explained(values, factors, seeds)
    terms = named(found)
    full = left(values, seeds, both)
    wanted = {
        ("cell",): left(values, seeds, clip) - left(values, seeds, cell, clip),
        ("clipping",): left(values, seeds, cell) - left(values, seeds, cell, clip),
        ("cell", "clipping"): left(values, seeds, cell, clip) - full,
    }
    assert {name: term.squares for name, term in terms.items()} == pytest.approx(wanted, rel=1e-9)
    assert found.residual == pytest.approx(full, rel=1e-9)
    assert terms["cell",].f == pytest.approx(wanted["cell",] / 2 / (full / found.residual_df), rel=1e-9)


def test_what_statsmodels_gave():
    """anova_lm(ols("y ~ C(s) + C(a) * C(b)"), typ=2) of statsmodels 0.15.0 on these numbers."""
    values = [2.1, 2.9, 3.2, 4.8, 1.0, 1.9, 2.2, 3.7, 5.1, 0.4, 2.6]
    a, b, s = list("xxyyxxyyyxx"), list("pqpqpqpqqpp"), [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3]
    found = explained(values, {"a": a, "b": b}, s)
    assert [(t.df, t.squares, t.f, t.p) for t in found.terms] == [
        pytest.approx(each, rel=1e-9)
        for each in (
            (1, 8.06666666666666, 24.10958904109588, 0.007985574984109522),
            (1, 5.642666666666658, 16.864757160647553, 0.014772245686917306),
            (1, 0.24500000000000036, 0.7322540473225418, 0.44038504818092905),
        )
    ]


def test_a_run_done_twice_counts_once_and_what_is_not_finite_not_at_all():
    values, factors, seeds = study(1)
    once = explained(values, factors, seeds)
    shift = np.tile([0.3, -0.3], len(values))
    doubled = {name: [level for level in levels for _ in range(2)] for name, levels in factors.items()}
    again = explained(np.repeat(values, 2) + shift, doubled, [seed for seed in seeds for _ in range(2)])
    assert again.n == once.n
    assert [t.f for t in again.terms] == pytest.approx([t.f for t in once.terms])
    infinite = {name: [*levels, levels[0]] for name, levels in factors.items()}
    assert explained([*values, np.inf], infinite, [*seeds, 99]).terms == once.terms


def test_seeds_that_do_not_cross_the_settings_are_no_block():
    values, factors, _ = study(2)
    found, without = explained(values, factors, list(range(len(values)))), explained(values, factors)
    assert not found.blocked
    assert found.terms == without.terms
    nested = explained(values, factors, [hash(levels) for levels in zip(*factors.values(), strict=True)])
    assert not nested.blocked


def test_one_run_a_setting_leaves_the_interaction_as_error():
    values, factors, _ = study(3, seeds=1)
    found = explained(values, factors)
    assert not found.interactions
    assert [term.factors for term in found.terms] == [("cell",), ("clipping",)]
    assert found.residual_df == 2
    assert all(term.why == "" for term in found.terms)
    alone = explained([1.0, 2.0, 4.0], {"cell": list(CELLS)})
    assert alone.terms[0].share == pytest.approx(1)
    assert alone.terms[0].why == "no run is left to tell chance by"
    assert np.isnan(alone.terms[0].p)


def test_factors_that_move_together_are_not_told_apart():
    values = np.random.default_rng(0).normal(size=8)
    levels = list("aabb") * 2
    found = explained(values, {"one": levels, "other": [level.upper() for level in levels]})
    assert [term.why for term in found.terms] == ["the other terms leave none of it"] * 3
    assert [term.df for term in found.terms] == [0, 0, 0]


@pytest.mark.parametrize(
    ("values", "factors", "why"),
    [
        ([], {"cell": []}, "no finite value"),
        ([np.nan], {"cell": ["a"]}, "no finite value"),
        ([1.0, 2.0], {"cell": ["a", "a"]}, "no factor has two levels"),
        ([1.0, 2.0], {}, "no factor has two levels"),
        ([1.0, 1.0], {"cell": ["a", "b"]}, "all equal"),
    ],
)
def test_what_explains_nothing_says_why(values: list[float], factors: dict[str, list[str]], why: str):
    found = explained(values, factors)
    assert (found.terms, found.why) == ((), why)


def test_values_without_chance_have_no_test_and_lengths_are_checked():
    found = explained([1.0, 1.0, 2.0, 2.0], {"cell": list("aabb")}, [0, 1, 0, 1])
    assert (found.terms[0].share, found.terms[0].why) == (pytest.approx(1), "no chance differences")
    with pytest.raises(ValueError, match="one of each for each run"):
        explained([1.0], {"cell": ["a", "b"]})


def test_too_many_levels_are_fitted_without_interactions():
    generator = np.random.default_rng(0)
    levels = {name: list(generator.integers(0, 30, 1500)) for name in ("one", "other")}
    found = explained(generator.normal(size=1500), levels, list(range(1500)))
    assert not found.interactions
    assert [term.factors for term in found.terms] == [("one",), ("other",)]


def test_a_level_for_each_run_is_refused_at_once():
    found = explained(np.random.default_rng(0).normal(size=1500), {"rate": list(range(1500)), "cell": [*"abc"] * 500})
    assert (found.terms, found.why) == ((), "1503 levels, 400 at most")


def test_an_interaction_of_cells_that_were_not_all_run_is_what_cell_means_leave():
    values, factors, seeds = study(5)
    kept = [k for k, both in enumerate(zip(*factors.values(), strict=True)) if both not in (("gru", "none"),)]
    some = {name: [levels[k] for k in kept] for name, levels in factors.items()}
    labels = [seeds[k] for k in kept]
    found = explained(values[kept], some, labels)
    both = list(zip(*some.values(), strict=True))
    assert found.residual == pytest.approx(left(values[kept], labels, both), rel=1e-9)
    assert [term.df for term in found.terms] == [2, 1, 1]
