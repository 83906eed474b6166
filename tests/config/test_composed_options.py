"""What is composed once for each choice of options is, with the values put in, what Hydra composes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from composed import GROUPS, ROUNDS, chosen, nodes, option_node
from composed import choices as of_round
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError
from omegaconf import DictConfig, ListConfig, OmegaConf

from rnn_research.config.compose import PRIMARY, Composer
from rnn_research.config.composed_options import ALONE, ComposedOptions, read_typed, with_values
from rnn_research.config.environment import recorded
from rnn_research.config.groups import CONF, LISTS
from rnn_research.config.kept_yamls import KeptYamls
from rnn_research.config.short_keys import register
from rnn_research.config.targets import resolved


def by_hydra(*overrides: str) -> DictConfig:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3", job_name=PRIMARY):
        return compose(PRIMARY, list(overrides), return_hydra_config=True)


def quick(*overrides: str) -> DictConfig | None:
    """What is composed without Hydra as a whole."""
    typed = read_typed(overrides, [CONF])
    return with_values(Composer()._of_options(typed.choices), typed) if typed else None


def leaves(config: DictConfig, group: str) -> list[str]:
    """An override for each value of an option, which gives it another value."""

    def below(node: Any, path: str) -> Iterator[str]:
        for key in node:
            if isinstance(node, DictConfig) and not OmegaConf.is_missing(node, key):
                child = None if OmegaConf.is_interpolation(node, key) else node[key]
                if isinstance(child, DictConfig):
                    yield from below(child, f"{path}.{key}")
                else:
                    yield f"{path}.{key}={'text' if isinstance(child, str) else 'null'}"

    node = config.get(group)
    return list(below(node, group)) if isinstance(node, DictConfig) else []


@pytest.mark.parametrize("number", range(ROUNDS))
def test_options_with_other_values_are_as_hydra_composes_them(number: int) -> None:
    """Each experiment, each option, and each of its values: when it is chosen first."""
    experiments = [f"experiment={name}" for name in GROUPS["experiment"][number : number + 1]]
    choices = [*of_round(number), *experiments]
    config = Composer()._of_options(tuple(choices))
    values = [text for group, names in GROUPS.items() if number < len(names) for text in leaves(config, group)]
    overrides = ["seed=7", *values, *choices, "+trainer.unknown={a:[1,b]}", "hydra.run.dir='a=b'"]
    found = quick(*overrides)
    assert found is not None
    assert list(nodes(found)) == list(nodes(by_hydra(*overrides)))


@pytest.mark.parametrize("number", range(0, ROUNDS, 4))
def test_an_option_gives_its_group_the_same_whatever_others_are_chosen(number: int) -> None:
    """So that tests of every option need not compose each: see `composed.option_node`."""
    config = Composer()._of_options(tuple(of_round(number)))
    for group in (group for group in GROUPS if group != "experiment"):
        names = chosen(number, group)
        found = [option_node(group, name) for name in names]
        one = OmegaConf.merge(*found) if group in LISTS else found[0]
        assert OmegaConf.to_container(one) == OmegaConf.to_container(config[group]), group


@pytest.mark.parametrize(
    "overrides",
    [
        *(["experiment=" + name] for name in GROUPS["experiment"][::7]),
        ["model.cell.hidden_size=${dataset.batch_size}", "engine=${oc.env:ENGINE,auto}", "+dataset.more=${model.cell}"],
        ["+dataset.more={a:[1,{b:'${seed}'},'${optimizer}',null]}", "resume='???'", "trust=[a,'${engine}']"],
    ],
    ids=str,
)
def test_a_resolved_config_is_the_one_of_its_plain_values(overrides: list[str]) -> None:
    """All nodes; what is recorded are the same values, but for those from the environment."""
    task = Composer().run(overrides).task
    plain = OmegaConf.to_container(task, resolve=True)
    assert list(nodes(resolved(task))) == list(nodes(OmegaConf.create(plain)))
    expected = {**plain, "engine": "${oc.env:ENGINE,auto}"} if "${oc" in str(overrides) else plain
    assert recorded(task) == expected


def test_each_option_is_in_a_round() -> None:
    for group, names in GROUPS.items():
        assert {name for number in range(ROUNDS) for name in chosen(number, group)} == set(names)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["model=lstm", "dataset=listops", "clipping=[value,agc]", "probe=none"],
        ["seed=1", "seed=2", "model=gru", "trainer.max_steps=1e3", "engine='a,b'"],
        ["++seed=3", "++trainer.mine=4", "+trainer.limit_val_batches=0.5", "resume=null", "trust=[a,b]"],
        ["model.cell={hidden_size:3}", "init.default={}", "+dataset.more={a:{b:[1,{c:2}]}}"],
        ["model.cell.hidden_size=${dataset.batch_size}", "dataset.batch_size='${seed}'", r"engine=\${x}"],
        ["clipping@probe.counterfactual.strategies=[value,agc]", "probe=counterfactual"],
        ["+clipping@other=value", "other.value.max_value=3"],
        ["experiment=digits_vanishing", "dataset.batch_size=2", "hydra.mode=RUN", "hydra.sweep.subdir=${seed}"],
        ["experiment=clipping_zoo", "hydra.sweeper.params={clipping:'value,agc'}", "hydra.job.name=other"],
        ["hydra/job_logging=default", "seed=4", "hydra.sweep.dir=x", "dataset.batch_size=.5"],
    ],
    ids=" ".join,
)
def test_overrides_are_put_in_as_hydra_does(overrides: list[str]) -> None:
    expected = by_hydra(*overrides)
    found = quick(*overrides)
    assert found is not None
    assert list(nodes(found)) == list(nodes(expected))


@pytest.mark.parametrize(
    "override",
    [
        "seed=1,2",
        "seed=range(3)",
        "~seed",
        "~model",
        "sed=1",
        "+seed=1",
        "+mine=1",
        "model={cell:{hidden_size:3}}",
        "model.sell=3",
        "model.cell.hidden_size.more=3",
        "model.cell.hidden_size=3=",
        "model.cell={hidden_size:3",
        "hydra.searchpath=[file:///tmp]",
        "hydra.job.env_copy=[HOME]",
        "hydra.mode=nonsense",
        "hydra.sweeper.params.[seed]=1",
        "hydra.run.dear=1",
        "hydra={run:{dir:x}}",
    ],
)
def test_what_is_out_of_the_usual_is_left_to_hydra(override: str) -> None:
    assert quick("model=lstm", override) is None


@pytest.mark.parametrize(
    "override", ["sed=1", "+seed=1", "model=lstn", "++model=lstm", "seed=1,2", "hydra.mode=nonsense"]
)
def test_a_mistake_is_told_in_hydras_words(override: str) -> None:
    told = []
    for ask in (by_hydra, lambda *overrides: Composer()._composed(overrides)):
        with pytest.raises(Exception, match=r"\S") as refused:
            ask("model.num_layers=2", override)
        told.append((refused.type, str(refused.value)))
    assert told[0] == told[1]


def test_a_config_is_the_callers_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = Composer().run(["model=lstm", "seed=1"]).numbered(3).config
    first.model.num_layers = 5
    monkeypatch.chdir(tmp_path)
    second = Composer().run(["model=lstm", "seed=1"]).config
    assert (second.model.num_layers, second.hydra.runtime.cwd) == (1, str(tmp_path))
    assert OmegaConf.is_missing(second.hydra.job, "num")


def test_each_config_has_its_own_time() -> None:
    assert len({Composer().run(["model=lstm"]).folder() for _ in range(5)}) == 5


def test_each_choice_is_composed_once_until_a_yaml_changes(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    path = tmp_path / "model" / "a.yaml"
    path.write_text("a: 1")
    asked: list[tuple[str, ...]] = []

    def read(choices: Any) -> DictConfig:
        asked.append(choices)
        return OmegaConf.create({"text": path.read_text()})

    options = ComposedOptions(tmp_path)
    for _ in range(3):
        assert options.get(("model=a",), read).text == "a: 1"
    assert len(asked) == 1
    other = tmp_path / "other"
    other.write_text("a: 2")
    os.replace(other, path)
    assert options.get(("model=a",), read).text == "a: 2"
    (tmp_path / "model" / "b.yaml").write_text("a: 1")
    assert options.get(("model=a",), read).text == "a: 2"
    assert len(asked) == 3


def test_a_yaml_is_parsed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model" / "a.yaml"
    path.parent.mkdir()
    path.write_text("# what it is\n# @package _global_\na: 1\n")
    source, files = (kind("main", f"{kind.scheme()}://{tmp_path}") for kind in (KeptYamls, FileConfigSource))
    parsed: list[str] = []
    monkeypatch.setattr(OmegaConf, "load", lambda file, load=OmegaConf.load: parsed.append("") or load(file))
    first = source.load_config("model/a")
    first.config.a = 2
    assert source.load_config("model/a").config == {"a": 1}
    assert len(parsed) == 1
    assert vars(source.load_config("model/a.yaml")) == vars(files.load_config("model/a"))
    path.write_text("a: 10\n")
    assert (source.load_config("model/a").config, len(parsed)) == ({"a": 10}, 3)
    path.unlink()
    with pytest.raises(ConfigLoadError):
        source.load_config("model/a")


def test_a_folder_of_yamls_answers_as_one_of_files() -> None:
    source, files = (kind("main", f"{kind.scheme()}://{CONF}") for kind in (KeptYamls, FileConfigSource))
    for path in ("", "model", "model/rnn", "model/rnn.yaml", "model/no", "no", "train"):
        for ask in ("is_group", "is_config", "exists"):
            assert getattr(source, ask)(path) == getattr(files, ask)(path), (ask, path)
    for path in ("", "model"):
        for what in (None, ObjectType.GROUP, ObjectType.CONFIG):
            assert source.list(path, what) == files.list(path, what)
    assert (repr(source), source.full_path(), source.available()) == (repr(files), files.full_path(), True)


GROUPS_ALONE = [group for group in GROUPS if group in ALONE]


@pytest.mark.parametrize("beside", [[], ["experiment=digits_vanishing"], ["+clipping@other=value"]], ids=str)
def test_combinations_are_put_together_as_hydra_composes_them(beside: list[str]) -> None:
    """Each option was composed beside others than those that it is put together with; so was what is there where none
    is typed."""
    options, asked = ComposedOptions(CONF), list[Any]()

    def compose(choices: Any) -> DictConfig:
        asked.append(choices)
        return by_hydra(*choices)

    def shifted(number: int) -> tuple[str, ...]:
        """A round with the options of every second group of another, and none of some groups."""
        mixed = [of_round((number + place % 2) % 3)[place] for place in range(len(GROUPS_ALONE))]
        some = [text for text in mixed if text.partition("=")[0] in LISTS or mixed.index(text) % 3 != number]
        return (*beside, *some)

    for choices in (*map(of_round, range(3)), []):
        options.get((*choices, *beside), compose)
    assert len(asked) == 4
    for number in range(3):
        found = options.get(shifted(number), compose)
        assert len(asked) == 4
        typed = read_typed(shifted(number), [CONF])
        assert typed is not None
        with_overrides = with_values(found, typed)
        assert with_overrides is not None
        assert list(nodes(with_overrides)) == list(nodes(by_hydra(*shifted(number))))


def test_a_group_chosen_twice_is_composed() -> None:
    choices = ("model=rnn", "model=gru")
    options, asked = ComposedOptions(CONF), list[Any]()
    for given in (choices, choices[::-1], choices):
        options.get(given, lambda given: asked.append(given) or OmegaConf.create({"given": list(given)}))  # type: ignore[func-returns-value]
    assert asked == [choices, choices[::-1]]


def test_no_option_gives_more_than_its_groups_key() -> None:
    """What `ComposedOptions` counts on: no yaml of a group is put elsewhere, or chooses for another group."""
    for group in ALONE:
        for path in (CONF / group).glob("*.yaml"):
            text = path.read_text(encoding="utf-8")
            assert "@package" not in text, path
            defaults = OmegaConf.load(path).get("defaults") or []
            for item in defaults:  # of the same group, or a list of others put below its own key: Hydra keeps no choice
                inner = dict(item).popitem() if not isinstance(item, str) else ("", [])
                assert isinstance(inner[1], list | ListConfig), path
                assert "@" in inner[0] or not item.startswith(("/", "override")), path
            assert "${" not in str(defaults), path
