"""What is put in the place of functions of OmegaConf and Hydra does what theirs do."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import quick_configs
from composed import nodes
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf

from rnn_research.config.compose import Composer

YAMLS = {
    "which/other": "d: ${mine.own}\n",
    "mine/two": "defaults:\n- part: ${which}\n- _self_\nown: 1\n",
    "mine/part/other": "b: {c: [2, null, '???']}\n",
    "lacking/one": "defaults:\n- part: ${nowhere}\n",
}


@pytest.fixture
def composer(tmp_path: Path) -> Composer:
    """Of a folder with options of which one takes another by a choice, and one by a choice that there is not."""
    for name, text in YAMLS.items():
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    return Composer((tmp_path,))


@pytest.mark.parametrize(
    "overrides",
    [
        ["dataset=adding", "clipping=[value,global_norm]", "+new.key={a: [1, null, ???]}", "~trainer.max_steps"],
        ["experiment=recursive_or_recurrent", "hydra.verbose=true", "hydra/launcher=basic", "seed=${oc.env:SEED}"],
        ["+mine=two", "+which=other"],
    ],
    ids=["typed", "chosen", "interpolated"],
)
def test_configs_are_the_libraries_own_in_every_flag_and_so_are_their_copies(
    overrides: list[str], composer: Composer
) -> None:
    def made() -> list[object]:
        config = composer._by_hydra(overrides)
        OmegaConf.set_readonly(config.hydra, True)
        merged = OmegaConf.merge(config, {"mine": {"own": 2}} if "mine" in config else {"seed": 3})
        assert isinstance(merged, DictConfig)
        return [list(nodes(each)) for each in (config, copy.deepcopy(config), copy.copy(config.dataset), merged)]

    with quick_configs.without():
        own = made()
    assert made() == own


def test_a_mistake_is_told_in_the_same_words(composer: Composer) -> None:
    def said() -> str:
        with pytest.raises(ConfigCompositionException) as error:
            composer._by_hydra(["+lacking=one"])
        return str(error.value)

    with quick_configs.without():
        own = said()
    assert said() == own
    assert "nowhere" in own


def test_copies_share_nothing() -> None:
    config = OmegaConf.create({"a": {"b": 1}, "c": [2]})
    made = copy.deepcopy(config)
    OmegaConf.set_readonly(made.a, True)
    made.c[0] = 3
    OmegaConf.get_cache(made)["now"]["key"] = 1
    assert config == {"a": {"b": 1}, "c": [2]}
    assert not OmegaConf.is_readonly(config.a)
    assert not OmegaConf.get_cache(config)


def test_a_copied_value_asks_its_parent_for_flags_anew() -> None:
    config = OmegaConf.create({"a": 1})
    value = config._get_node("a")
    assert value is not None
    assert not value._get_flag("readonly")
    made = copy.deepcopy(value)
    OmegaConf.set_readonly(config, True)
    assert made._get_flag("readonly")
