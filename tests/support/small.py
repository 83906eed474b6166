"""Small live objects for tests: data given by hand, a model of them, and a run that trains it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from omegaconf import DictConfig, OmegaConf

from rnn_research.cells import RNN
from rnn_research.clipping import Clipping
from rnn_research.clipping.none import NoClipping
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.task import SPLITS, Task
from rnn_research.models import Model
from rnn_research.probes.base import Probe
from rnn_research.records.runs import RunRecord
from rnn_research.structures import ChainLayout as Chains
from rnn_research.structures import Layout, Sample, Tree
from rnn_research.training.fit import RunSpec, fit


class Given(DataModule):
    """Samples by hand: the same in each split, or by split."""

    def __init__(
        self,
        task: Task,
        samples: Sequence[Sample] | Mapping[str, Sequence[Sample]],
        layout: Layout | None = None,
        batch_size: int = 4,
    ) -> None:
        super().__init__(batch_size)
        self.layout = layout or Chains()
        self.given = samples if isinstance(samples, Mapping) else dict.fromkeys(SPLITS, samples)
        self.of = task

    def load(self) -> tuple[Task, dict[str, Sequence[Sample]]]:
        return self.of, dict(self.given)


def for_training(samples: Sequence[Sample]) -> dict[str, Sequence[Sample]]:
    """Splits of a test that looks at training alone: what is measured between and after takes little time."""
    return {"train": samples, "val": samples[:2], "test": samples[:2]}


def sequences(count: int, lengths: tuple[int, int] = (2, 6), seed: int = 0, steps: bool = False) -> list[Sample]:
    """Sequences of 2 features in 3 classes; with `steps`, a label at each step (now and then none)."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        length = int(random.integers(lengths[0], lengths[1] + 1))
        inputs = random.normal(size=(length, 2)).astype(np.float32)
        labels = random.integers(-1, 3, size=length) if steps else None
        made.append(Sample(inputs, int(random.integers(3)), step_targets=labels))
    return made


def sentences(count: int, nodes: tuple[int, int] = (1, 9), seed: int = 0, labels: bool = True) -> list[Sample]:
    """Random trees with up to 3 children a node, of 6 tokens (some nodes read none) in 3 classes."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        size = int(random.integers(nodes[0], nodes[1] + 1))
        parents = [-1]
        while len(parents) < size:
            node = int(random.integers(len(parents)))
            if parents.count(node) < 3:
                parents.append(node)
        tree, _ = Tree.of(parents)
        tokens, targets = random.integers(0, 7, size=size), random.integers(-1, 3, size=size)
        targets[0] = random.integers(3)
        words = np.maximum(tokens[tree.leaves], 1)
        made.append(
            Sample(
                words,
                int(targets[0]),
                tree=tree,
                tree_inputs=tokens,
                tree_targets=targets if labels else None,
            )
        )
    return made


SEQUENCES = Task("classification", input_size=2, output_size=3)
STEPS = Task("classification", input_size=2, output_size=3, step_targets=True)
TREES = Task("classification", input_size=7, output_size=3, tokens=True, max_children=3, tree_targets=True)


def model_of(
    data: DataModule,
    cell: Callable[..., Any] = RNN,
    hidden_size: int = 4,
    clipping: Clipping | None = None,
    optimizer: Callable[..., torch.optim.Optimizer] | None = None,
    seed: int = 0,
    **arguments: Any,
) -> Model:
    """A model of `data` as `config.build` would make it."""
    torch.manual_seed(seed)
    task = data.task
    return Model(
        task,
        partial(cell, hidden_size=hidden_size),
        optimizer or partial(torch.optim.SGD, lr=0.1),
        clipping or NoClipping(),
        max_children=data.layout.max_children(task.max_children),
        position_targets=data.layout.position_targets(task.step_targets, task.tree_targets),
        **{"embedding_size": 3, **arguments},
    )


def run(
    data: DataModule,
    model: Model,
    folder: Path,
    probes: Mapping[str, Probe] | None = None,
    callbacks: Sequence[Any] = (),
    **limits: Any,
) -> RunRecord:
    """Train on the CPU within `limits`, arguments of lightning's Trainer."""
    trainer = _WithCallbacks(callbacks, accelerator="cpu", devices=1, **limits)
    return fit(data, model, trainer, dict(probes or {}), RunSpec(folder))


class _WithCallbacks:
    """A maker of Trainers that adds callbacks behind those of the run."""

    def __init__(self, callbacks: Sequence[Any], **arguments: Any) -> None:
        self.callbacks, self.arguments = callbacks, arguments

    def __call__(self, callbacks: list[Any], **given: Any) -> Trainer:
        return Trainer(callbacks=[*callbacks, *self.callbacks], **{**self.arguments, **given})


def batches(data: DataModule, epochs: int = 1) -> list[list[Any]]:
    """The training batches of each epoch, as a run will see them."""
    loader = data.train_dataloader()
    return [list(loader) for _ in range(epochs)]


SIZES = {
    "model.cell.hidden_size": 4,
    "model.embedding_size": 3,
    "dataset.train_size": 10,
    "dataset.val_size": 5,
    "dataset.test_size": 5,
    "dataset.batch_size": 4,
    "dataset.length": 10,
    "dataset.depth": 3,
    "dataset.delay": 3,
    "dataset.by": "row",
    "trainer.accelerator": "cpu",
    "trainer.max_epochs": -1,
    "trainer.max_steps": 2,
}
"""By key, what makes a run of a moment: set where a config has the key."""


def has(cfg: DictConfig, key: str) -> bool:
    above, _, name = key.rpartition(".")
    return name in OmegaConf.select(cfg, above)
