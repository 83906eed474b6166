"""A counterfactual's strategies, given by name."""

from __future__ import annotations

import pytest
from command import rnn_train
from composed import composed

from rnn_research.config.counterfactual_keys import STRATEGIES, expand


def strategies(*overrides: str) -> list[str]:
    return list(composed("probe=counterfactual", *expand(list(overrides))).probe.counterfactual.strategies)


@pytest.mark.parametrize("names", [["value"], ["value", "agc"], ["zclip", "adagc", "none"]])
def test_names_choose_strategies_as_the_long_form_does(names: list[str]) -> None:
    given = f"[{','.join(names)}]"
    assert strategies(f"{STRATEGIES}={given}") == strategies(f"clipping@{STRATEGIES}={given}") == names


def test_one_name_needs_no_brackets_and_keys_may_follow() -> None:
    assert strategies(f"{STRATEGIES}=value", f"{STRATEGIES}.value.max_value=0.1") == ["value"]


@pytest.mark.parametrize(
    "override",
    [
        "clipping=[value,agc]",
        f"clipping@{STRATEGIES}=[value]",
        f"{STRATEGIES}.value.max_value=0.1",
        f"{STRATEGIES}=null",
        f"{STRATEGIES}=",
        f"{STRATEGIES}={{value:{{max_value:1}}}}",
        f"{STRATEGIES}=${{other}}",
        f"+{STRATEGIES}=[value]",
        f"~{STRATEGIES}",
        "probe=[counterfactual]",
        "-m",
    ],
)
def test_anything_else_stays_as_it_is(override: str) -> None:
    assert expand([override]) == [override]


def test_a_sweep_over_lists_of_names_is_one_over_choices() -> None:
    assert expand(["seed=1", f"{STRATEGIES}=[value],[agc]"]) == ["seed=1", f"clipping@{STRATEGIES}=[value],[agc]"]


def test_the_command_knows_them() -> None:
    ended = rnn_train("--cfg", "job", "probe=[adjoint,counterfactual]", f"{STRATEGIES}=[value,agc]")
    assert ended.code == 0, ended.err
    assert "max_value: 1.0" in ended.out
    assert "rnn_research.clipping.agc.AGC" in ended.out
    assert "rnn_research.clipping.per_parameter.PerParameter" not in ended.out
