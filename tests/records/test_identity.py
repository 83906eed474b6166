"""One training is one condition, however it was typed; two trainings are two."""

from __future__ import annotations

import json
import random
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import rnn_train
from folders import write_run

from rnn_research.compare import Comparison, compare
from rnn_research.config import groups
from rnn_research.records import runs
from rnn_research.records.canonical import canonical, leaves, spelled
from rnn_research.records.identity import (
    GROUPS,
    LEFT_OUT,
    LISTS,
    MAY_DIFFER,
    SCALARS,
    TABLE,
    change_of,
    identity_of,
    is_factor,
    may_differ,
    values_of,
)
from rnn_research.report import columns

VERSION_1 = Path(__file__).parent / "version1"
"""What version 1 left of `EARLIER`."""
EARLIER = (
    *("dataset=adding", "dataset.length=6", "dataset.train_size=16", "dataset.val_size=4", "dataset.test_size=4"),
    *("dataset.batch_size=4", "model.cell.hidden_size=3", "trainer.max_epochs=-1", "trainer.max_steps=2"),
    "probe=[adjoint]",
)
SPELLINGS = (
    ("clipping=global_norm",),
    ("clipping=[global_norm]", "clipping.max_norm=1", "optimizer.lr=1e-3"),
    ("clipping=global_norm", "clipping.global_norm.max_norm=1.0", "optimizer.lr=0.0010"),
    ("clipping=global_norm", "clipping.max_norm=1e0", "++optimizer.lr=1.0e-3", "structure=chain"),
    ("clipping=global_norm", "optimizer.weight_decay=0", "optimizer.betas=[0.9, 999e-3]", "threads=2"),
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def numbers(line: str) -> list[float]:
    """What a line of `metrics.csv` has measured."""
    return [float(cell) for cell in line.split(",")[3:]]


def trained(here: Path, *typed: str, name: str) -> Path:
    ended = rnn_train(*EARLIER, *typed, f"hydra.run.dir={here / name}")
    assert ended.code == 0, ended.err
    return here / name


def seeds(found: Comparison) -> list[list[int]]:
    return [[run.record.seed for run in condition.runs] for condition in found.conditions]


# Values.


def test_a_number_is_one_value_however_it_is_written():
    for written in ("1e-3", "0.001", "1.0e-3", "0.0010"):
        assert canonical(json.loads(written)) == canonical(0.001)
    assert canonical(1) == canonical(1.0) != canonical(True)
    assert canonical("1") != canonical(1)
    assert canonical(None) != canonical("null")
    assert canonical([1, 2]) == canonical((1.0, 2)) != canonical([2, 1])
    assert canonical(float("nan")) == canonical("nan")
    assert canonical(0.1 + 0.2) != canonical(0.3)
    # one batch, or all of them
    assert canonical(1, "trainer.limit_train_batches") != canonical(1.0, "trainer.limit_train_batches")


def any_value(draw: random.Random, depth: int = 2) -> Any:
    texts = [
        "a",
        "1",
        "1.0",
        "true",
        "null",
        "",
        "–",
        "[1]",
        "1,2",
        "'",
        "'1'",
        "\\",
        "a,b",
        "{a:1}",
        "~",
        "1e3",
        "a:b",
    ]
    plain = [0, 1, -1, 10**22, 1e22, 0.1, 0.1 + 1e-17, 0.1 + 2e-17, 1.0, -0.0, 1e300, True, False, None, *texts]
    kind = draw.randrange(4) if depth else 0
    if kind == 1:
        return [any_value(draw, depth - 1) for _ in range(draw.randrange(3))]
    if kind == 2:
        return {name: any_value(draw, depth - 1) for name in draw.sample(["a", "b"], draw.randrange(1, 3))}
    return draw.choice(plain)


@pytest.mark.parametrize("seed", range(20))
def test_values_have_the_same_text_exactly_where_they_are_the_same(seed: int):
    draw = random.Random(seed)
    values = [any_value(draw) for _ in range(80)]
    texts = spelled(values)
    for one, text in zip(values, texts, strict=True):
        for other, others in zip(values, texts, strict=True):
            assert (text == others) == (canonical(one) == canonical(other)), (one, other)


# The table.


def test_every_change_is_either_a_factor_or_not_and_has_a_reason():
    assert all(rule.reason and rule.change for rule in TABLE)
    assert {rule.change for rule in TABLE} == {*LEFT_OUT, *MAY_DIFFER}


@pytest.mark.parametrize(
    "key", ["enable_peephole", "my_dir", "data_path", "cache", "root", "url", "num_workers", "name"]
)
def test_an_argument_of_a_users_own_cell_is_a_factor_whatever_its_name(key: str, tmp_path: Path):
    assert is_factor(f"model.cell.{key}")
    assert not may_differ(f"model.cell.{key}")
    for value in ("a", "b"):
        for seed in range(2):
            config = {"model": {"cell": {key: value}}}
            write_run(tmp_path / f"{value}{seed}", seed=seed, config=config)
    found = compare([tmp_path])
    assert found.varying == (f"model.cell.{key}",)
    assert seeds(found) == [[0, 1], [0, 1]]


def test_what_a_user_says_of_data_of_his_own_is_a_factor_and_does_not_hinder_going_on():
    assert is_factor("dataset.data_path")
    assert may_differ("dataset.data_path")
    assert is_factor("dataset.vectors")
    assert may_differ("dataset.vectors")
    assert not is_factor("dataset.root")


def test_all_keys_of_the_project_are_in_groups_or_scalars():
    config = json.loads((VERSION_1 / "run.json").read_text())["config"]
    assert set(config) <= {*GROUPS, *SCALARS}
    assert may_differ("a_users_own.key")
    assert {*GROUPS, "experiment"} == set(groups.TABLE)
    assert set(LISTS) == set(groups.LISTS)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("optimizer.lr", "numbers"),
        ("engine", "numbers"),
        ("trainer.limit_train_batches", "numbers"),
        ("trainer.precision", "numbers"),
        ("trainer.max_steps", "length"),
        ("trainer.accelerator", "rounding"),
        ("trainer.val_check_interval", "measured"),
        ("dataset.num_workers", "speed"),
        ("threads", "speed"),
        ("dataset.root", "place"),
        ("probe.adjoint.every_n_steps", "watching"),
        ("model.cell._partial_", "command"),
    ],
)
def test_what_a_key_changes(key: str, change: str):
    assert change_of(key) == change


# The identity of a run.


def test_an_option_that_was_not_chosen_is_no_value():
    config = {"clipping": {"none": {"_target_": "rnn_research.clipping.none.NoClipping"}, "value": {"max_value": 3}}}
    assert not any(key.startswith("clipping") for key in values_of(config))
    own = {"clipping": {"none": {"_target_": "mine.None"}}}
    assert "clipping.none._target_" in values_of(own)


def test_the_options_of_a_run_are_named_by_its_config():
    config = {
        "clipping": {"value": {"_target_": "a"}, "agc": {"_target_": "b"}, "zclip": {"left": "behind"}},
        "init": {"default": {"_target_": "c"}},
        "regularizer": {},
        "probe": {"_target_": "d"},
    }
    choices = {"model": "rnn", "experiment": None, "hydra/output": "default", "probe": "mine", "structure": "auto"}
    found = identity_of(config, choices, ["+a=1", "~b"], structure="parse", config_dirs=["own"])
    assert found["choices"] == {
        "model": "rnn",
        "probe": "mine",
        "structure": "parse",
        "init": "default",
        "clipping": "value+agc",
        "regularizer": "none",
        "logger": "none",
    }
    assert found["overrides"] == ["--config-dir=own", "+a=1", "~b"]
    assert found["config"] == config


def test_a_training_typed_in_five_ways_is_one_condition(here: Path):
    """Also beside a run of version 1."""
    for seed, typed in enumerate(SPELLINGS, start=1):
        trained(here, *typed, f"seed={seed}", name=str(seed))
    shutil.copytree(VERSION_1, here / "0")
    found = compare([here])
    assert found.excluded == ()
    assert found.varying == ()
    assert seeds(found) == [[0, 1, 2, 3, 4, 5]]
    trained(here, "clipping=global_norm", "clipping.max_norm=1.0000000000000002", name="other")
    trained(here, "clipping=none", name="none")
    found = compare([here])
    assert found.varying == ("clipping", "clipping.max_norm")
    options = [tuple(condition.options.values()) for condition in found.conditions]
    assert options == [("none", "–"), ("global_norm", "1.0"), ("global_norm", "1.0000000000000002")]
    assert seeds(found) == [[0], [0, 1, 2, 3, 4, 5], [0]]


def test_a_key_that_refers_to_another_counts_by_its_value(here: Path):
    for size in (6, 7):
        trained(here, "model.cell.hidden_size=${dataset.length}", f"dataset.length={size}", name=str(size))
    trained(here, "model.cell.hidden_size=6", "seed=1", name="plain")
    found = compare([here])
    assert seeds(found) == [[0, 1], [0]]
    assert "model.cell.hidden_size" in found.varying


def test_the_order_in_which_strategies_clip_counts(here: Path):
    for seed in range(2):
        trained(here, "clipping=[value,global_norm]", f"seed={seed}", name=f"a{seed}")
    trained(here, "clipping=[global_norm,value]", "seed=2", name="b")
    assert sorted(seeds(compare([here]))) == [[0, 1], [2]]


def test_what_only_one_option_has_is_no_factor_beside_it(here: Path):
    trained(here, "clipping=none", name="a")
    trained(here, "clipping=global_norm", "clipping.max_norm=2", name="b")
    trained(here, "clipping=value", "clipping.max_value=3", "optimizer=sgd", name="c")
    assert compare([here]).varying == ("optimizer", "clipping")


def test_a_run_goes_on_from_one_of_version_1_with_the_same_steps(here: Path):
    """Those of a run that was not stopped. The stored ones have another machine's rounding: that one machine has the
    same bits is a law of `test_resume`."""
    typed = ("clipping=global_norm", "optimizer.lr=1e-3", "trainer.max_steps=4", "seed=0")
    whole = trained(here, *typed, name="whole")
    resumed = trained(here, *typed, f"resume={VERSION_1}", name="resumed")
    first, second = ((run / "metrics.csv").read_text().splitlines() for run in (whole, resumed))
    assert first[0] == second[0]
    assert len(first) == len(second) == 4
    for line, other in zip(first[1:], second[1:], strict=True):
        assert line.split(",")[:3] == other.split(",")[:3]
        assert numbers(line) == pytest.approx(numbers(other), rel=1e-6)
    assert runs.read(whole).final == pytest.approx(runs.read(resumed).final, rel=1e-6)
    ended = rnn_train(*EARLIER, *typed, "optimizer.lr=0.002", f"resume={VERSION_1}")
    assert ended.code == 2


def test_the_command_that_is_shown_repeats_the_run_as_typed(here: Path):
    own = here / "own" / "regularizer"
    own.mkdir(parents=True)
    (own / "small.yaml").write_text("small:\n  _target_: rnn_research.regularizers.orthogonality.Orthogonality\n")
    typed = (
        "--config-dir",
        str(here / "own"),
        "regularizer=small",
        "+trainer.limit_train_batches=3",
        "~optimizer.betas",
    )
    first = trained(here, *typed, "seed=3", name="first")
    record = runs.read(first)
    assert record.overrides[0] == f"--config-dir={here / 'own'}"
    assert {"+trainer.limit_train_batches=3", "~optimizer.betas", "seed=3"} <= set(record.overrides)
    (run,) = compare([first]).runs
    command, *arguments = shlex.split(columns.command(run))
    assert command == "rnn-train"
    ended = rnn_train(*arguments, f"hydra.run.dir={here / 'again'}")
    assert ended.code == 0, ended.err
    again = runs.read(here / "again")
    assert (again.config, again.choices, again.final) == (record.config, record.choices, record.final)


# Version 1.


def test_a_record_of_version_1_says_the_same_as_one_of_version_2():
    record = runs.read(VERSION_1)
    assert record.version == 1
    assert record.choices["clipping"] == "global_norm"
    assert "clipping.max_norm" not in record.choices
    assert {"model=rnn", "clipping.max_norm=1.0", "optimizer.lr=1e-3"} <= set(record.overrides)
    assert record.config["structure"]["_target_"] == "rnn_research.structures.layouts.automatic_layout"


def test_a_record_that_is_written_again_is_of_this_version(tmp_path: Path):
    runs.write(runs.read(VERSION_1), tmp_path)
    assert runs.read(tmp_path).version == runs.VERSION


@pytest.mark.parametrize("spoil", [lambda raw: raw.pop("factors"), lambda raw: raw.update(factors=[1], config=3)])
def test_a_damaged_record_of_version_1_is_damaged(spoil: Callable[[dict[str, Any]], object], tmp_path: Path):
    raw = json.loads((VERSION_1 / "run.json").read_text())
    spoil(raw)
    (tmp_path / "run.json").write_text(json.dumps(raw))
    with pytest.raises(runs.DamagedRecord, match="damaged"):
        runs.read(tmp_path)


# Conditions are never too few or too many.


def random_config(draw: random.Random) -> dict[str, Any]:
    options = {"none": {}, "global_norm": {"max_norm": draw.choice([1.0, 1.0 + 2**-52])}, "value": {"max_value": 0.1}}
    chosen = draw.sample(list(options), draw.choice([1, 1, 2]))
    return {
        "model": {
            "cell": {"_target_": "rnn_research.cells.rnn.RNN", "size": draw.choice([4, 5]), "flag": draw.random() < 0.5}
        },
        "optimizer": {"lr": draw.choice([0.001, 0.01]), "betas": draw.choice([[0.9, 0.999], [0.999, 0.9]])},
        "clipping": {name: {"_target_": name, **options[name]} for name in chosen},
    }


def respelled(value: Any, draw: random.Random) -> Any:
    """The same value, as another way of typing it may leave it."""
    if isinstance(value, dict):
        return {key: respelled(item, draw) for key, item in value.items()}
    if isinstance(value, list):
        return [respelled(item, draw) for item in value]
    if isinstance(value, float) and value.is_integer() and draw.random() < 0.5:
        return int(value)
    return value


@pytest.mark.parametrize("seed", range(5))
def test_runs_are_of_one_condition_exactly_where_their_configs_are_the_same(seed: int, tmp_path: Path):
    draw = random.Random(seed)
    made = [random_config(draw) for _ in range(8)]
    different = {json.dumps(config) for config in made}
    for index, config in enumerate(made):
        clipping = "+".join(config["clipping"])
        for again in range(2):
            number = 2 * index + again
            keys = draw.sample(list(leaves(config)), draw.randrange(4))
            folder = write_run(
                tmp_path / f"{number}",
                seed=number,
                factors={"clipping": clipping},
                config={**respelled(config, draw), "threads": draw.randrange(3)},
                data={"name": "digits", "fingerprint": "the same"},
                distances=3,
            )
            record = json.loads((folder / "run.json").read_text())
            record["overrides"] = [f"{key}=typed" for key in keys]
            (folder / "run.json").write_text(json.dumps(record))
    found = compare([tmp_path])
    assert found.excluded == ()
    assert len(found.conditions) == len(different)
    for condition in found.conditions:
        assert len({json.dumps(made[run.record.seed // 2]) for run in condition.runs}) == 1
