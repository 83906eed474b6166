"""Select the engine that unrolls a cell along a structure.

* `native`: the cell's update compiled to C; on the CPU, float32 or float64.
* `torch`: torch's fused kernels, or an explicit backward pass; any device, no compiler.
* `reference`: plain autograd; any cell, any device, derivatives of any order. The oracle for the others.
* `auto`: the first of these that can do what is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from rnn_research.cells.base import Cell, State
from rnn_research.checks import choice
from rnn_research.structures import Chain, Forest
from rnn_research.unroll.compiled.library import Unavailable
from rnn_research.unroll.compiled.trace import Untraceable
from rnn_research.unroll.compiled.unfolding import NativeUnfolding
from rnn_research.unroll.intervention import Intervention
from rnn_research.unroll.reference import ReferenceUnfolding
from rnn_research.unroll.torch_kernels import TorchUnfolding, Unsupported
from rnn_research.unroll.unfolding import Record, Unfolding

ENGINES = ("auto", "native", "torch", "reference")


@dataclass(frozen=True)
class EngineChoice:
    """The engine that was `asked` for, the one `used`, and `why` that one."""

    asked: str
    used: str
    why: str

    def __str__(self) -> str:
        return f"engine={self.used}: {self.why}"


def unfold(
    engine: str,
    cell: Cell,
    structure: Chain | Forest,
    inputs: Tensor,
    initial: State | None,
    record: Record,
    family: Sequence[Unfolding],
    intervention: Intervention | None = None,
) -> tuple[Unfolding, EngineChoice]:
    """The cell along the structure by the engine asked for, as one of a `family` of layers. `intervention`:
    what acts within its backward pass.

    Raises:
        ValueError: no such engine, or (other than with auto) it can't do this: says what stopped it. The cell marks
            no pre-activations, and these are to be clamped.
    """
    choice("engine", engine, ENGINES)
    given = cell, structure, inputs, initial, record
    stopped = []
    if engine in ("auto", "native"):
        try:
            return NativeUnfolding(*given, intervention), EngineChoice(
                engine, "native", "the update is compiled for this CPU"
            )
        except (Untraceable, Unavailable) as error:
            stopped.append(("native", str(error)))
    if engine in ("auto", "torch"):
        try:
            if intervention is not None:
                raise Unsupported("nothing can act inside the backward pass of its kernels")
            made = TorchUnfolding(*given)
            return made, EngineChoice(engine, "torch", _why(stopped, made.how))
        except Unsupported as error:
            stopped.append(("torch", str(error)))
    if engine in ("auto", "reference"):
        return ReferenceUnfolding(*given, family, intervention), EngineChoice(
            engine, "reference", _why(stopped, "plain autograd")
        )
    raise ValueError(f"engine: given {engine}, but {stopped[0][1]}; use engine=auto or engine=reference")


def _why(stopped: list[tuple[str, str]], how: str) -> str:
    return "; ".join([how, *(f"not {name}: {reason}" for name, reason in stopped)])
