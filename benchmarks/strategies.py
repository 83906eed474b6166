"""What Omega and counterfactual clipping cost: a training step with them, beside the same step without.

A step is a model's forward and backward pass, clipping of the global norm with its record, and the optimiser's step.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from benchmarks.runs import composed
from benchmarks.timing import Case, Measured, Registry, Step, ratio

SHAPES = {
    "rnn 20x50, 50 units": ("rnn", 20, 50, 50),
    "lstm 32x100, 128 units": ("lstm", 32, 100, 128),
    "lstm 32x100, 64 units": ("lstm", 32, 100, 64),
    "gru 32x100, 128 units": ("gru", 32, 100, 128),
}
SIX = "[global_norm,value,per_parameter,agc,autoclip,zclip]"


def _parts(shape: str, *more: str) -> Any:
    from rnn_research.config.build import build
    from rnn_research.config.short_keys import register

    register()
    model, batch, length, hidden = SHAPES[shape]
    given = [f"model={model}", f"model.cell.hidden_size={hidden}", f"dataset.length={length}"]
    given += [f"dataset.batch_size={batch}", "dataset=temporal_order", "optimizer=sgd", "optimizer.lr=0.01", *more]
    return build(composed(["clipping=global_norm", "probe=none", *given]))


def _step(parts: Any) -> Step:
    """As lightning runs the hooks, without lightning."""
    from types import SimpleNamespace

    from rnn_research.clipping import clip
    from rnn_research.probes.callback import observation_of

    model, (batch,) = parts.model, [batch for batch, _ in zip(parts.data.train_dataloader(), [0], strict=False)]
    optimizer, probes = model.configure_optimizers(), list(parts.probes.values())
    parameters, named = list(model.parameters()), dict(model.named_parameters())
    model._trainer = SimpleNamespace(accumulate_grad_batches=1, global_step=0)  # what the model asks its trainer
    for probe in probes:
        probe.attach(list(model.cells))

    def step() -> None:
        optimizer.zero_grad()
        loss = model.training_step(batch, 0)
        loss.backward()
        model.on_after_backward()
        with torch.no_grad():
            for probe in probes:
                probe.measure(observation_of(model, parameters=named))
        clip(model.clipping, parameters)
        optimizer.step()

    return step


def beside(shape: str, more: tuple[str, ...], rounds: int) -> Measured:
    """The step with `more` in its config, to the one without."""
    steps = _step(_parts(shape, *more)), _step(_parts(shape))
    return ratio(*steps, rounds, "the same step without")


MORE = {
    "omega": ("<= 2.0", ("regularizer=omega",)),
    "counterfactual_of_six": (
        "<= 1.2",
        ("probe=counterfactual", f"clipping@probe.counterfactual.strategies={SIX}"),
    ),
}
REGISTRY: Registry = {
    name: {shape: Case(partial(beside, shape, more), target) for shape in SHAPES}
    for name, (target, more) in MORE.items()
}
