"""Check that a cell's update gives the same again, when it is run elsewhere and on other rows."""

from __future__ import annotations

import torch
from torch import Tensor

from rnn_research.cells.base import Cell, State
from rnn_research.unroll.undisturbed import draws, undisturbed


def check_repeatable(cell: Cell, what: str) -> None:
    """Refuse a cell whose update gives other states when it is run again. The cell is left as it was.

    Raises:
        ValueError: the cell draws random numbers, or changes its buffers, in an update.
    """
    name, reason = type(cell).__name__, _reason(cell)
    if reason is not None:
        raise ValueError(
            f"{what}: runs updates again, but {name}.step {reason}, so that they give other states; leave {what} out, "
            "or the cell as it is in evaluation"
        )


@torch.no_grad()
def _reason(cell: Cell) -> str | None:
    with undisturbed([cell]):
        size, like = cell.hidden_size, cell.weight_hh
        inputs = torch.linspace(-1, 1, 3 * cell.input_size).view(3, -1).to(like)
        parts = [torch.linspace(-0.5, 0.5, 3 * size).view(3, size).to(like) for _ in cell.state_names]
        drawn = draws()
        buffers = [(buffer, buffer._version) for buffer in cell.buffers()]
        results = [_states(cell, inputs, parts) for _ in range(2)]
        if draws() != drawn:
            return "draws random numbers"
        if any(buffer._version != before for buffer, before in buffers):
            return "changes its buffers"
        alike = all(
            torch.allclose(one, other, rtol=0, atol=0, equal_nan=True) for one, other in zip(*results, strict=True)
        )
        return None if alike else "gives another state each time"


def _states(cell: Cell, inputs: Tensor, parts: list[Tensor]) -> list[Tensor]:
    projected = cell.project(inputs)
    first: State = cell.step(projected)
    return [*first, *cell.step(projected, cell.state_type(*parts))]
