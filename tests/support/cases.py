"""Random cases for the native engine, and what it, torch in float32 and the reference in float64 make of each.

python tests/cases.py 300      compare so many, and print the worst (the slow test runs it under sanitizers)
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from equations import VARIANTS, random_tree
from torch import Tensor

from rnn_research.cells import Cell
from rnn_research.structures import Chain, Forest, Tree
from rnn_research.structures.tree import unary
from rnn_research.unroll import Intervention, Unrolled, unroll

SIZES = (1, 2, 7, 8, 16, 20, 33, 64, 100)
TINY = 2.0**-23
"""An error below one rounding says nothing."""


class Case(NamedTuple):
    name: str
    layers: list[Cell]
    structure: Chain | Forest
    inputs: Tensor
    initial: list[Any] | None
    readouts: list[Tensor]
    """Of each part of the top layer's states, the gradient that comes from outside."""


def case(seed: int, arity: int = 9, longest: int = 2000) -> Case:
    """Everything drawn from the seed; in float64. `arity`: the most children of a node; `longest`: steps of a chain, or
    of a tree that is one."""
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    name = list(VARIANTS)[seed % len(VARIANTS)]
    hidden, features = int(random.choice(SIZES)), int(random.choice([1, 2, 3, 10, 40]))
    count = int(random.integers(1, 3))
    structure = forest(random, arity, longest) if random.random() < 0.5 else chain(random, longest)
    layers = [
        VARIANTS[name].build(
            hidden if layer else features, hidden, seed=seed + layer, max_children=max(1, structure.max_children)
        )
        for layer in range(count)
    ]
    positions = tuple(structure.mask.shape)
    inputs = torch.randn(*positions, features, dtype=torch.float64)
    initial = None
    if isinstance(structure, Chain) and random.random() < 0.5:
        shape = len(structure), hidden
        initial = [c.state_type(*(torch.randn(shape, dtype=torch.float64) for _ in c.state_names)) for c in layers]
    parts = len(layers[-1].state_names)
    readouts = [torch.randn(*positions, hidden, dtype=torch.float64) for _ in range(parts)]
    if random.random() < 0.5:  # the loss of last states alone: adjoints vanish
        at_end = (structure.distance == 0)[..., None]
        readouts = [torch.where(at_end, readout, 0.0) for readout in readouts]
    readouts = [torch.where(structure.mask[..., None], readout, 0.0) for readout in readouts]
    return Case(
        f"{seed}: {count} x {name}, hidden {hidden}, {structure_name(structure)}",
        layers,
        structure,
        inputs,
        initial,
        readouts,
    )


def chain(random: np.random.Generator, longest: int) -> Chain:
    kind = random.random()
    if kind < 0.1:
        return Chain(torch.tensor([longest]))
    if kind < 0.3:
        return Chain(torch.full((int(random.integers(1, 40)),), int(random.integers(1, 60))))
    return Chain(torch.tensor([1, *random.integers(1, 70, int(random.integers(1, 20))).tolist()]))


def forest(random: np.random.Generator, most: int, deepest: int) -> Forest:
    trees: list[Tree] = [unary(1)]
    if random.random() < 0.2:
        trees.append(unary(min(500, deepest)))
    arity = int(random.integers(1, most + 1))
    trees += [random_tree(random, int(random.integers(1, 60)), arity) for _ in range(int(random.integers(1, 12)))]
    return Forest.of(trees)


def structure_name(structure: Chain | Forest) -> str:
    if isinstance(structure, Chain):
        return f"lengths to {structure.time}, batch {len(structure)}"
    return f"{len(structure)} trees, {structure.nodes} nodes, arity {structure.max_children}"


def results(
    given: Case, engine: str, dtype: torch.dtype, inside: Sequence[Intervention | None] | None = None
) -> dict[str, Tensor]:
    """Outputs, gradients and adjoints by name, and what acted `inside`."""
    layers = [copy.deepcopy(cell).to(dtype) for cell in given.layers]
    inputs = given.inputs.to(dtype).clone().requires_grad_()
    initial = given.initial and [
        type(s)(*(part.to(dtype).clone().requires_grad_() for part in s)) for s in given.initial
    ]
    unrolled = unroll(
        layers, given.structure, inputs, initial=initial, engine=engine, record="parts", interventions=inside
    )
    torch.autograd.backward(list(unrolled.states), [readout.to(dtype) for readout in given.readouts])
    found = {f"state {k}": part.detach() for k, part in enumerate(unrolled.states)} | {"inputs": inputs.grad}
    for layer, cell in enumerate(layers):
        for name, parameter in cell.named_parameters():
            found[f"layer {layer} {name}"] = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    for layer, state in enumerate(initial or []):
        found |= {f"layer {layer} initial {k}": part.grad for k, part in enumerate(state)}
    return found | adjoints(unrolled)


def adjoints(unrolled: Unrolled) -> dict[str, Tensor]:
    found = {}
    for number, layer in enumerate(unrolled.layers):
        for which in ("adjoints", "direct", "recurrent"):
            for name, part, norms in zip(
                layer.cell.state_names, getattr(layer, which), layer.norms(which), strict=True
            ):
                found[f"layer {number} {which} {name}"] = part
                found[f"layer {number} {which} {name} norms"] = norms
        for point, norms in layer.norms_by_point().items():
            found |= {f"layer {number} {point} {when} norms": one for when, one in zip("ab", norms, strict=True)}
    return found


KINDS = ("state", "inputs", "parameter", "initial", "adjoints", "direct", "recurrent", "norms")


def compare(seed: int, longest: int = 2000) -> Iterator[tuple[str, float, float]]:
    """What was compared, native's error in float32, and torch's: of all tensors of a kind together, relative."""
    given = case(seed, longest=longest)
    exact = results(given, "reference", torch.float64)
    native, own = results(given, "native", torch.float32), results(given, "reference", torch.float32)
    for kind in KINDS:
        names = [name for name in exact if kind_of(name) == kind]
        scale = norm(exact[name] for name in names)
        errors = [norm(found[name].double() - exact[name].double() for name in names) for found in (native, own)]
        if scale:
            yield f"{given.name}: {kind}", errors[0] / scale, errors[1] / scale
        else:
            assert errors == [0, 0], f"{given.name}: {kind}"


def kind_of(name: str) -> str:
    return next((kind for kind in reversed(KINDS) if kind in name.split()), "parameter")


def norm(tensors: Iterable[Tensor]) -> float:
    return math.sqrt(sum(float(tensor.double().square().sum()) for tensor in tensors))


def main() -> None:
    torch.set_num_threads(1)
    worst = sorted(
        (
            (ours / max(own, TINY), name, ours, own)
            for seed in range(int(sys.argv[1]))
            for name, ours, own in compare(seed)
        ),
        reverse=True,
    )
    for ratio, name, ours, own in worst[:12]:
        print(f"{ratio:.2f}  {name}: native {ours:.1e}, torch {own:.1e}")
    far = [row for row in worst if row[0] > 3]
    print(f"{len(far)} of {len(worst)} are more than 3 times as far as torch")
    if len(far) > len(worst) // 300 or worst[0][0] > 6:  # a single number (hidden 1) may be torch's lucky one
        sys.exit("native is less exact than torch")


if __name__ == "__main__":
    main()
