"""Laws of every option in conf/, and in the folders given with `--config-dir`: one's own options are checked by

pytest tests/test_contract.py --config-dir FOLDER -k NAME
"""

from __future__ import annotations

import functools
import inspect
import io
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from composed import option_node
from files import files_for
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from small import SIZES, TREES, Given, has, model_of, sentences

from rnn_research.cells import LSTM
from rnn_research.cells.base import Cell
from rnn_research.clipping.base import Clipping, ClippingEffect, clip
from rnn_research.config.build import Parts, build
from rnn_research.config.compose import Composer
from rnn_research.config.groups import CONF, LISTS, LONE, first_line
from rnn_research.config.instantiate import LATER, instantiate_node, make_each, make_named
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.checking import check_disjoint, check_samples
from rnn_research.datasets.streams import SampleStream
from rnn_research.datasets.task import SPLITS, Task
from rnn_research.errors import UsageError
from rnn_research.models.schedules import RateSchedule
from rnn_research.records import runs
from rnn_research.structures import (
    BalancedTreeLayout,
    Batch,
    Chain,
    ChainLayout,
    Layout,
    LeftBranchingLayout,
    ParseTreeLayout,
    RightBranchingLayout,
    Sample,
)
from rnn_research.structures.layouts import NO_TARGET
from rnn_research.training.fit import RunSpec, fit

ONE_BATCH = {"dataset.val_size": 4, "dataset.test_size": 4}
"""What no law here learns from is one batch."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    folders = [CONF, *metafunc.config.getoption("--config-dir")]
    paths = {path.relative_to(folder): path for folder in folders for path in sorted(folder.glob("*/*.yaml"))}
    shown = {name.with_suffix(""): path for name, path in paths.items() if not name.stem.startswith("_")}
    described = {name: path for name, path in shown.items() if str(name.parent) != "experiment"}
    for argument, chosen in {"yaml": shown, "described": described}.items():
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, chosen.values(), ids=map(str, chosen))
    for group in sorted({str(name.parent) for name in shown} & set(metafunc.fixturenames)):  # sorted: xdist compares
        metafunc.parametrize(group, [name.stem for name in shown if str(name.parent) == group])


@pytest.fixture(scope="session")
def config(pytestconfig: pytest.Config, data_files: Path) -> Callable[..., DictConfig]:
    """Composes, as `rnn-train` with these arguments, and makes it small."""
    folders = pytestconfig.getoption("--config-dir")
    composer = Composer(tuple(folders))

    def node(group: str, option: str) -> DictConfig:
        if any((folder / group / f"{option}.yaml").exists() for folder in folders):
            return composer.compose([f"{group}=[{option}]" if group in LISTS else f"{group}={option}"])[group]
        return option_node(group, option)

    plain = pickle.dumps(composer.run(["dataset=temporal_order"]).task)

    @functools.cache
    def chosen(groups: tuple[tuple[str, str], ...]) -> bytes:
        cfg = pickle.loads(plain)
        cfg.trust = [path.stem for folder in folders for path in folder.glob("*.py")]
        for group, option in groups:
            cfg[group] = node(group, option)
        for key, value in {**SIZES, **ONE_BATCH, **files_for(cfg.dataset, data_files)}.items():
            if has(cfg, key):
                OmegaConf.update(cfg, key, value)
        return pickle.dumps(cfg)

    def small(*overrides: str, **groups: str) -> DictConfig:
        cfg = pickle.loads(chosen(tuple(groups.items())))
        cfg.merge_with_dotlist(list(overrides))
        return cfg

    return small


@pytest.fixture(scope="module", autouse=True)
def _few_samples() -> Iterator[None]:
    """Generated data are made a block at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SampleStream, "BLOCK", 16)
        yield


def _fit(parts: Parts, folder: Path) -> runs.RunRecord:
    record = fit(parts.data, parts.model, parts.trainer, parts.probes, RunSpec(folder))
    assert record.status == "done"
    assert np.isfinite(list(record.final.values())).all()
    return record


# Every yaml.


def test_a_yaml_opens_with_what_it_is(yaml: Path) -> None:
    assert first_line(yaml)


def test_a_yaml_binds_to_its_target(described: Path, config: Callable[..., DictConfig]) -> None:
    group, option = described.parent.name, described.stem
    cfg = OmegaConf.to_container(config(**{group: option})[group], resolve=True)
    if group in LISTS and group not in LONE:  # so that each of several is under its own name
        assert set(OmegaConf.load(described)) - {"defaults"} == set(cfg) == {option} - {"none"}
    for path, node in _targets(cfg, group):
        parameters = inspect.signature(get_object(node["_target_"])).parameters
        named = {name: one for name, one in parameters.items() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}
        given = {key for key in node if not key.startswith("_")}
        assert given <= set(named), f"{path}: no argument {given - set(named)}"
        theirs = not node["_target_"].startswith("rnn_research.")  # of our own, each argument is a key to override
        wanted = {name for name, one in named.items() if one.default is one.empty or not theirs}
        later = LATER.get(path, LATER.get(group, set()) if group in LISTS else set()) if "_partial_" in node else set()
        assert wanted - later <= given, f"{path}: no key for {wanted - later - given}"


def _targets(node: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield path, node
        for key, value in node.items():
            yield from _targets(value, f"{path}.{key}")


# Models, on each structure.


LAYOUTS = [ChainLayout(), BalancedTreeLayout(), LeftBranchingLayout(), RightBranchingLayout(), ParseTreeLayout()]
DRAWN = [
    pytest.param(layout, marks=() if isinstance(layout, ChainLayout | ParseTreeLayout) else pytest.mark.slow)
    for layout in LAYOUTS
]
"""Trees over a sequence are to a model like those of the data."""


def test_a_models_weights_follow_from_the_seed(model: str, config: Callable[..., DictConfig]) -> None:
    one, other, another = (
        build(config("model.num_layers=2", f"seed={seed}", model=model, dataset="boolean_trees")).model.state_dict()
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert any((value != another[name]).any() for name, value in one.items())


@pytest.mark.parametrize("layout", DRAWN, ids=lambda layout: layout.name)
def test_a_model_trains(model: str, layout: Layout, config: Callable[..., DictConfig], tmp_path: Path) -> None:
    _learns(config, tmp_path, model=model, structure=layout.name)


def test_a_structure_trains(structure: str, config: Callable[..., DictConfig], tmp_path: Path) -> None:
    _learns(config, tmp_path, model="child_sum_tree_lstm", structure=structure)


def _learns(config: Callable[..., DictConfig], tmp_path: Path, **given: str) -> None:
    """Every weight changes."""
    parts = build(config("model.num_layers=2", dataset="boolean_trees", probe="none", **given))
    state = parts.model.state_dict()
    before = {name: value.clone() for name, value in state.items()}
    assert _fit(parts, tmp_path).steps == 2
    assert all((value != before[name]).any() for name, value in state.items())


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_adjoints_are_those_of_plain_autograd(model: str, layout: Layout, config: Callable[..., DictConfig]) -> None:
    """Against the cell applied to one position of one sample at a time, by recursion."""
    data = Given(TREES, sentences(5), layout)
    cell = get_object(config(model=model).model.cell._target_)
    arguments = {key: value for key, value in config(model=model).model.cell.items() if not key.startswith("_")}
    arguments.pop("hidden_size")
    live = model_of(data, functools.partial(cell, **arguments), num_layers=2).double()
    batch = layout.collate(data.samples("train"))
    live.step.recorded = True
    loss = live.training_step(batch, 0)
    layers = live.step.parts["cells"].unrolled.layers
    early = [layer.adjoints_of(loss) for layer in layers]
    loss.backward()
    expected_loss, expected = _by_hand(live, batch, data.samples("train"), layout)
    expected_loss.backward()
    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-12, abs=0)
    for layer, states, unreduced in zip(layers, expected, early, strict=True):
        for part, name in enumerate(layer.cell.state_names):
            wanted = torch.stack([state[part].grad[0] for state in states])
            for found in (layer.adjoints[part][layer.mask], unreduced[part][layer.mask]):
                torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-14, msg=name)
            split = layer.direct[part] + layer.recurrent[part]
            torch.testing.assert_close(split[layer.mask], wanted, rtol=1e-10, atol=1e-14, msg=name)


ARCHITECTURE_DATA = {"next_token": "text", "encoder_decoder": "reverse_tokens", "ctc": "audio_transcripts"}
"""What an architecture trains on that is not for labels."""
MAIN = {
    "classification": "accuracy",
    "regression": "mse",
    "next_token": "bits",
    "sequence": "token_accuracy",
    "transcript": "character_error_rate",
}
"""A metric of each kind of task."""


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_an_architecture_trains_any_cell(
    architecture: str, cell: str, config: Callable[..., DictConfig], tmp_path: Path
) -> None:
    """On data that label positions, so that each has a meaning; the answers are one output a sample."""
    given = {
        "dataset": ARCHITECTURE_DATA.get(architecture, "copying_memory"),
        "structure": "chain",
        "probe": "none",
        "model": cell,
    }
    parts = build(config("model.num_layers=2", architecture=architecture, **given))
    samples = [parts.data.samples("train")[number] for number in range(3)]
    with torch.no_grad():
        answers = parts.model(parts.layout.collate(samples))
    assert answers.shape == (3, parts.data.task.output_size)
    before = {name: value.clone() for name, value in parts.model.state_dict().items()}
    assert _fit(parts, tmp_path).steps == 2
    after = parts.model.state_dict()
    assert all((after[name] != value).any() for name, value in before.items())


each_encoder = pytest.mark.parametrize(
    "encoders", [("true", "false"), pytest.param(("false",), marks=pytest.mark.slow)], ids=["two", "one"]
)
"""Whether it reads in two directions; where that is refused, in one, which the slow case tries anyway."""


def _translates(encoders: Sequence[str], folder: Path, config: Callable[..., DictConfig], **given: str) -> None:
    """The first of these encoders and a decoder train with an option, or a line says why they do not."""
    for bidirectional in encoders:
        cfg = config(
            f"model.bidirectional={bidirectional}",
            "model.num_layers=2",
            **{"model": "lstm", "dataset": "reverse_tokens", "architecture": "encoder_decoder", "probe": "none"}
            | given,
        )
        told, parts = "", None
        try:
            parts = build(cfg)
        except UsageError as error:
            told = str(error)
        if parts is None:
            assert "\n" not in told
            assert next(iter(given.values())) in told
        else:
            assert _fit(parts, folder).steps == 2
            return


@each_encoder
def test_a_strategy_acts_in_an_encoder_and_a_decoder_or_says_why_not(
    clipping: str, encoders: Sequence[str], config: Callable[..., DictConfig], tmp_path: Path
) -> None:
    _translates(encoders, tmp_path, config, clipping=clipping)


@each_encoder
def test_a_regularizer_acts_on_an_encoder_and_a_decoder_or_says_why_not(
    regularizer: str, encoders: Sequence[str], config: Callable[..., DictConfig], tmp_path: Path
) -> None:
    _translates(encoders, tmp_path, config, regularizer=regularizer)


@each_encoder
def test_a_probe_measures_an_encoder_and_a_decoder(
    probe: str, encoders: Sequence[str], config: Callable[..., DictConfig], tmp_path: Path
) -> None:
    _translates(encoders, tmp_path, config, probe=probe)


def _by_hand(model: Any, batch: Batch, samples: list[Sample], layout: Layout) -> tuple[torch.Tensor, list[list[Any]]]:
    """The loss, and each layer's state at each position (padding left out)."""
    inputs = list(model.embedding(batch.inputs)[batch.structure.mask])
    children = _children(batch, samples, layout)
    layers = []
    for cell in model.cells:
        layers.append(_fold_by_hand(cell, inputs, children))
        inputs = [state.hidden[0] for state in layers[-1]]
    outputs = model.readout(torch.stack(inputs))
    targets = batch.position_targets
    if targets is None:
        below = {child for some in children for child in some}
        ends = [position for position in range(len(children)) if position not in below]
        outputs = outputs[ends]  # in the order of samples, in a chain and in a forest
        targets = batch.target
    kept = targets != NO_TARGET
    loss = torch.nn.functional.cross_entropy(outputs[kept], targets[kept])
    return loss, layers


def _fold_by_hand(cell: Cell, inputs: list[torch.Tensor], children: list[list[int]]) -> list[Any]:
    states: dict[int, Any] = {}

    def state(position: int) -> Any:
        if position not in states:
            states[position] = cell(inputs[position][None], *(state(child) for child in children[position]))
            for part in states[position]:
                part.retain_grad()
        return states[position]

    return [state(position) for position in range(len(inputs))]


def _children(batch: Batch, samples: list[Sample], layout: Layout) -> list[list[int]]:
    """The positions that feed each position."""
    if isinstance(batch.structure, Chain):
        lengths = batch.structure.lengths.tolist()
        starts = np.cumsum([0, *lengths])
        return [
            [start + step - 1] if step else []
            for start, length in zip(starts, lengths, strict=False)
            for step in range(length)
        ]
    shape = getattr(layout, "shape", None)
    trees = [sample.tree if shape is None else shape(len(sample.inputs)) for sample in samples]
    place = {int(own): row for row, own in enumerate(batch.structure.order)}
    children: list[list[int]] = [[] for _ in place]
    for start, tree in zip(np.cumsum([0, *map(len, trees)]), trees, strict=False):
        for node in range(1, len(tree)):
            children[place[start + tree.parent[node]]].append(place[start + node])
    return children


# Initialisations, for each model.


def test_an_initialisation_suits_a_model_or_says_why_not(
    init: str, model: str, config: Callable[..., DictConfig]
) -> None:
    cfg = config(model=model, init=init)
    cell = functools.partial(instantiate_node(cfg.model.cell, "model.cell", Cell), input_size=3, max_children=2)
    (initialise,) = make_each(cfg.init, "init").values()
    needed = {"forget_bias": {"f"}, "chrono": {"i", "f"}}.get(init, set())
    needs_gate = not needed <= set(get_object(cfg.model.cell._target_).gates)
    torch.manual_seed(0)
    plain = cell().state_dict()
    torch.manual_seed(0)
    try:
        state = cell(initialise=(initialise,)).state_dict()
    except ValueError:
        assert needs_gate or not (CONF / "init" / f"{init}.yaml").exists()
        with pytest.raises(UsageError, match=rf"^init.{init}: "):
            build(cfg)
        return
    assert not needs_gate
    assert all(torch.isfinite(value).all() for value in state.values())
    unchanged = all(torch.equal(value, plain[name]) for name, value in state.items())
    assert unchanged == (init in ("default", "scaled"))


# Datasets.


def test_a_dataset_trains(dataset: str, config: Callable[..., DictConfig], tmp_path: Path) -> None:
    """A sequence cell, and where there are trees one that folds them."""
    if _teaches("lstm", dataset, config, tmp_path / "sequence").has_parse:
        _teaches("child_sum_tree_lstm", dataset, config, tmp_path / "tree")


@pytest.mark.slow
def test_a_dataset_trains_a_tree_cell(dataset: str, config: Callable[..., DictConfig], tmp_path: Path) -> None:
    """On its sequences, where there are no trees."""
    _teaches("child_sum_tree_lstm", dataset, config, tmp_path)


def _teaches(model: str, dataset: str, config: Callable[..., DictConfig], folder: Path) -> Task:
    parts = build(config("trainer.fast_dev_run=2", model=model, dataset=dataset))
    record = _fit(parts, folder)
    assert record.steps == 2
    metric = MAIN[parts.data.task.kind]
    assert {f"{split}_{metric}" for split in ("val", "test")} <= set(record.final)
    assert set(record.baselines) <= set(record.final)
    return parts.data.task


def test_a_dataset_gives_samples_that_fit_and_none_to_two_splits(
    dataset: str, config: Callable[..., DictConfig]
) -> None:
    data = instantiate_node(config(dataset=dataset).dataset, "dataset", DataModule)
    sets = {name: data.samples(name) for name in dict.fromkeys((*SPLITS, *data.evaluation_sets))}
    for name, samples in sets.items():
        check_samples(name, samples, data.task)
    if not data.overlaps:
        assert check_disjoint(sets, {name: min(len(samples), 10_000) for name, samples in sets.items()}) == ""


# Clipping.

ADDS = ("noise",)
"""They change a gradient of zero."""
REPLACES = ("shrink_on_nan",)
"""They put something finite in place of a NaN."""


@pytest.fixture
def strategy(clipping: str, config: Callable[..., DictConfig]) -> Any:
    (made,) = make_named(config(clipping=clipping).clipping, "clipping", Clipping).values()
    return made


def _parameters(*gradients: Any) -> list[torch.nn.Parameter]:
    made = []
    for gradient in gradients:
        made.append(torch.nn.Parameter(torch.ones(len(gradient))))
        made[-1].grad = torch.tensor(gradient)
    return made


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e3, 1e30])
def test_a_strategy_says_what_it_did_in_place(strategy: Any, scale: float) -> None:
    parameters = _parameters([3.0 * scale, 0.0], [-4.0 * scale])
    before = [parameter.grad for parameter in parameters]
    did = clip(strategy, parameters)
    kept = [None, None] if did.skipped else before
    assert all(parameter.grad is gradient for parameter, gradient in zip(parameters, kept, strict=True))
    assert all(torch.equal(parameter, torch.ones_like(parameter)) for parameter in parameters)
    assert all((value.shape, value.dtype) == ((), torch.float64) for value in did)
    assert did.norm_before.item() == pytest.approx(5.0 * scale, rel=1e-6, abs=0)
    assert did.norm_after.item() == pytest.approx((did.norm_before * did.coefficient).item(), rel=1e-6, abs=0)


def test_a_strategy_leaves_nothing_and_zero_as_they_are(strategy: Any, clipping: str) -> None:
    """And ours say so, with a coefficient of 1."""
    zeros = _parameters([0.0, -0.0], [0.0])
    for parameters in ([], [torch.nn.Parameter(torch.ones(2))], zeros):
        did = clip(strategy, parameters)
        adds = clipping in ADDS and parameters is zeros
        assert did.norm_before.item() == 0.0
        assert (did.norm_after.item() != 0.0) == adds
        assert did.coefficient.item() == 1.0 or not type(strategy).__module__.startswith("rnn_research.")
    if did.skipped.item() == 1.0:  # of a user's own, that takes no step now and then
        return
    assert torch.equal(torch.cat([parameter.grad for parameter in zeros]), torch.zeros(3)) == (clipping not in ADDS)


def test_a_strategy_hides_no_nan(strategy: Any, clipping: str) -> None:
    """It is left, or the step is skipped, or (by those that are for it) replaced, with a coefficient that is NaN."""
    did: ClippingEffect = clip(strategy, _parameters([float("nan"), 1.0], [1.0]))
    assert did.norm_before.isnan()
    if clipping in REPLACES:
        assert did.norm_after.isfinite()
        assert did.coefficient.isnan()
    else:
        assert did.norm_after.isnan() or did.skipped


def test_a_strategy_s_memory_is_its_state(strategy: Any, clipping: str, config: Callable[..., DictConfig]) -> None:
    """50 steps, a checkpoint and 50 more are 100 steps, bit by bit; none and a NaN are remembered as well."""
    parts = LSTM(input_size=2, hidden_size=3), torch.nn.Linear(3, 2)
    (half,) = make_named(config(clipping=clipping).clipping, "clipping", Clipping).values()
    whole = strategy
    for each in (whole, half):
        each.attach(parts[:1], parts[1])
    for step in range(50):
        _one_step(whole, parts, step)
    saved = io.BytesIO()
    torch.save(whole.state_dict(), saved)
    saved.seek(0)
    half.load_state_dict(torch.load(saved, weights_only=True))
    for step in range(50, 100):
        (one, ours), (other, theirs) = (_one_step(each, parts, step) for each in (whole, half))
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(dict(half.state_dict()), dict(whole.state_dict()), rtol=0, atol=0)


def _one_step(strategy: Any, parts: Any, step: int) -> tuple[ClippingEffect, list[torch.Tensor]]:
    """What it did to gradients that are large now and then, once NaN, and twice missing; and what it left."""
    random = torch.Generator().manual_seed(step)
    parameters = [parameter for part in parts for parameter in part.parameters()]
    for parameter in parameters:
        parameter.grad = {30: 1e3, 70: 1e4}.get(step, 1.0) * torch.randn(parameter.shape, generator=random)
    if step == 40:
        parameters[1].grad[0] = float("nan")
    elif step in (20, 50):
        parameters[0].grad = None
    did = clip(strategy, parameters)
    return did, [torch.zeros(0) if parameter.grad is None else parameter.grad.clone() for parameter in parameters]


# Probes.

TRAINED = {
    "chain": {"model": "lstm", "dataset": "adding"},
    "parse": {"model": "nary_tree_lstm", "dataset": "boolean_trees"},
    "sequence": {"model": "lstm", "dataset": "reverse_tokens"},
    "transcript": {"model": "lstm", "dataset": "audio_transcripts"},
}


def _five_steps(config: Callable[..., DictConfig], setting: str, probe: str, folder: Path) -> dict[str, torch.Tensor]:
    """The weights after them, with two layers and dropout."""
    shape = ("trainer.max_steps=5", "model.num_layers=2", "model.dropout=0.3")
    cfg = config(*shape, probe=probe, **TRAINED[setting])
    if "max_length" in cfg.dataset:
        cfg.dataset.max_length = 14  # so that there is padding
    for node in cfg.probe.values():
        if "every_n_steps" in node:
            node.every_n_steps = 2
    parts = build(cfg)
    _fit(parts, folder)
    return parts.model.state_dict()


@pytest.fixture(scope="module")
def observed(
    config: Callable[..., DictConfig], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], tuple[Path, dict[str, torch.Tensor]]]:
    """The folder of a setting's run with a probe, and the weights that it learns."""

    @functools.cache
    def run(setting: str, probe: str) -> tuple[Path, dict[str, torch.Tensor]]:
        folder = tmp_path_factory.mktemp(setting)
        return folder, _five_steps(config, setting, probe, folder)

    return run


@pytest.mark.parametrize("setting", TRAINED)
def test_a_probe_changes_no_bit_and_keeps_a_table(probe: str, setting: str, observed: Callable[..., Any]) -> None:
    (_, unobserved), (folder, weights) = observed(setting, "none"), observed(setting, probe)
    assert all(torch.equal(value, unobserved[name]) for name, value in weights.items())
    stored = {path.stem for path in (folder / "probes").iterdir()}
    assert stored == {"clipping", "answers", probe} - {"none"}
    for name in stored - {"answers"}:
        table = runs.read_table(folder, name)
        assert table is not None
        assert table.dtype.names[0] == "step"
        assert len(table) > 0
        assert set(table["step"]) <= set(range(5))
        assert (np.diff(table["step"]) >= 0).all()


# Schedules of the learning rate.


def test_a_schedule_s_memory_is_its_state(scheduler: str, config: Callable[..., DictConfig]) -> None:
    """50 updates and validations, a checkpoint and 50 more are 100; no rate is negative, and none NaN."""

    def made() -> tuple[Any, torch.optim.Optimizer, Any]:
        schedule = instantiate_node(config(scheduler=scheduler).scheduler, "scheduler", RateSchedule)
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
        return schedule, optimizer, schedule.make(optimizer, lambda: 100)

    (whole, half), found = (made(), made()), []
    for step in range(100):
        if step == 50:
            saved = io.BytesIO()
            torch.save([half[1].state_dict(), half[2] and half[2].state_dict()], saved)
            saved.seek(0)
            states, half = torch.load(saved, weights_only=True), made()
            for part, state in zip(half[1:], states, strict=True):
                if part is not None:
                    part.load_state_dict(state)
        for schedule, optimizer, live in (whole, half):
            optimizer.step()
            if live is not None:
                schedule.updated(live)
                schedule.validated(live, {str(schedule.metric): float(step % 7)})
        found.append([optimizer.param_groups[0]["lr"] for _, optimizer, _ in (whole, half)])
    assert all(one == other and 0 <= one < float("inf") for one, other in found)
