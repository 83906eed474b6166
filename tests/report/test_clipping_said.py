"""The page's first sentence says what clipping did: how often it fired, and which change of the decay rate is left."""

from __future__ import annotations

import html
import re
from pathlib import Path

import numpy as np
import pytest
from folders import write_run

from rnn_research import report
from rnn_research.compare import Comparison, compare
from rnn_research.report import clipping_said


def study(root: Path, changes: dict[str, float], seeds: int = 4, threshold: float = 1.0) -> Comparison:
    """Of each model a change of its decay rate by clipping, with noise."""
    random = np.random.default_rng(3)
    for model, change in changes.items():
        for seed in range(seeds):
            for bound in (None, threshold):
                rate = -0.3 + random.normal(scale=0.002) + (change if bound else 0.0)
                name = f"{model}-{bound}-{seed}"
                given = {"seed": seed, "threshold": bound, "factors": {"model": model}, "distances": 9}
                write_run(root / name, float(np.exp(rate)), **given)
    return compare([root])


def headline(found: Comparison) -> str:
    return html.unescape(clipping_said.headline(found)).replace("−", "-")


def test_a_change_is_said_with_its_interval_and_else_which_is_left(tmp_path: Path) -> None:
    found = study(tmp_path, {"rnn": -0.05, "lstm": 0.0})
    effects = {effect.clipped.options["model"]: effect.rate for effect in found.effects}
    shares = {c.options["model"]: c.clipped for c in found.conditions if c.options["clipping"] != "none"}
    rnn, lstm = effects["rnn"], effects["lstm"]
    assert rnn is not None
    assert lstm is not None
    fired = {model: f"{100 * share.mean:.0f}%" for model, share in shares.items() if share}
    said = headline(found)
    same = f"in lstm (decay rate the same within {max(-lstm.low, lstm.high):.2g})"
    assert said.startswith(f"Clipping by global_norm fired on {fired['lstm']} of steps {same}")
    assert f", on {fired['rnn']} in rnn (change of the decay rate -0." in said
    told = re.search(r"change of the decay rate (\S+) \[(\S+), (\S+)\]", said)
    assert told
    for text, value in zip(told.groups(), (rnn.mean, rnn.low, rnn.high), strict=True):
        assert float(text) == pytest.approx(value, abs=0.0006)
    page = html.unescape(report.write(found, tmp_path / "out", figures=False).read_text())
    lead = page.partition('<p class="lead">')[2].partition("</p>")[0]
    assert "Clipping by global_norm fired on" in lead


def test_without_an_interval_and_where_it_never_fired_that_is_said(tmp_path: Path) -> None:
    said = headline(study(tmp_path / "two", {"rnn": 0.1}, seeds=2))
    assert re.search(r"\(change of the decay rate \+0\.\d+; no interval: 2 seeds\)\.$", said)
    assert headline(study(tmp_path / "never", {"rnn": 0.0}, threshold=1e9)) == "Clipping by global_norm never fired."


def test_of_many_settings_it_says_how_far_they_reach(tmp_path: Path) -> None:
    said = headline(study(tmp_path, {f"m{k}": -0.05 * (k == 0) for k in range(6)}))
    assert re.search(r"fired on \d+%.* of steps in 6 settings, the decay rate changed in 1 of them \(-0\.\d+\)", said)
    assert re.search(r"in 5 no change was shown \(the same within 0\.\d+ to 0\.\d+\)", said)


def test_where_clipping_does_not_vary_nothing_is_said(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path / str(seed), seed=seed)
    assert headline(compare([tmp_path])) == ""
