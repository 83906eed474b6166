"""How the learning rate changes while a model trains: the config group `scheduler=`, by torch's own schedulers.

To add one, subclass `RateSchedule` and implement `make`. It is asked after each update of the weights, and after each
validation while training; what it remembers is its torch scheduler's own state, which a checkpoint keeps.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, ReduceLROnPlateau, StepLR

from rnn_research.checks import choice, integer, number
from rnn_research.datasets.task import less_is_better

Steps = Callable[[], float]
"""Gives the updates that a run will take; infinity where its limits do not tell."""


class RateSchedule(ABC):
    """The learning rate's way through a run.

    The rate of update n, counted from 1, is the one that stands in the optimiser after n - 1 updates.
    """

    metric: str | None = None
    """The validation metric that it looks at; None: at none."""
    spans_run: bool = False
    """Whether it goes over all of the run's steps, so that their number must be known and stay the same."""

    @abstractmethod
    def make(self, optimizer: Optimizer, steps: Steps) -> LRScheduler | None:
        """Torch's scheduler for an optimiser; None: the rate stays.

        Raises:
            ValueError: it goes over the run's steps, and the run's limits do not tell how many they are.
        """

    def updated(self, scheduler: LRScheduler) -> None:
        """Told after each update of the weights."""
        scheduler.step()

    def validated(self, scheduler: LRScheduler, values: Mapping[str, float]) -> None:  # noqa: B027 (one looks)
        """Told after each validation while training, what was measured."""

    def configured(self, optimizer: Optimizer, steps: Steps) -> Any:
        """What lightning's `configure_optimizers` returns: the optimiser, and the scheduler where there is one."""
        scheduler = self.make(optimizer, steps)
        if scheduler is None:
            return optimizer
        how = {"scheduler": scheduler, "interval": "step", "reduce_on_plateau": False}  # `validated` does that
        return {"optimizer": optimizer, "lr_scheduler": how}


class NoSchedule(RateSchedule):
    """The learning rate stays as it is."""

    def make(self, optimizer: Optimizer, steps: Steps) -> None:
        return None


class StepSchedule(RateSchedule):
    """After n updates the rate is lr gamma^floor(n / every_n_steps).

    Raises:
        ValueError: every_n_steps < 1, or gamma <= 0.
    """

    def __init__(self, every_n_steps: int = 1000, gamma: float = 0.1) -> None:
        self.every_n_steps = integer("every_n_steps", every_n_steps)
        self.gamma = number("gamma", gamma, above=0.0)

    def make(self, optimizer: Optimizer, steps: Steps) -> LRScheduler:
        return StepLR(optimizer, self.every_n_steps, self.gamma)


class CosineSchedule(RateSchedule):
    """After n of N updates the rate is min_lr + (lr - min_lr) (1 + cos(pi n / N)) / 2, and min_lr from then on.

    Loshchilov and Hutter 2017, "SGDR: stochastic gradient descent with warm restarts", eq. 5, without restarts.

    Args:
        steps: N; None: the run's own number of updates.
        min_lr: the last rate.

    Raises:
        ValueError: steps < 1, or min_lr < 0.
    """

    def __init__(self, steps: int | None = None, min_lr: float = 0.0) -> None:
        self.steps = None if steps is None else integer("steps", steps)
        self.min_lr = number("min_lr", min_lr, least=0.0)
        self.spans_run = steps is None

    def make(self, optimizer: Optimizer, steps: Steps) -> LRScheduler:
        return CosineAnnealingLR(optimizer, _whole(self.steps, steps), self.min_lr)

    def updated(self, scheduler: LRScheduler) -> None:
        if scheduler.last_epoch < scheduler.T_max:  # type: ignore[attr-defined] (torch's would rise again)
            scheduler.step()


class PlateauSchedule(RateSchedule):
    """The rate times `factor` after more than `patience` validations in a row whose metric is not better than the best
    so far by more than `threshold` of it; never below `min_lr`.

    Args:
        metric: of the validation set; see `datasets.task.less_is_better`.

    Raises:
        ValueError: factor is not in (0, 1), or another number is below 0.
    """

    def __init__(
        self,
        metric: str = "loss",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        min_lr: float = 0.0,
    ) -> None:
        self.metric = metric
        self.factor = number("factor", factor, above=0.0, most=1.0)
        if self.factor == 1.0:
            raise ValueError("factor: given 1.0, which changes nothing; expected a number > 0.0 and < 1.0")
        self.patience = integer("patience", patience, least=0)
        self.threshold = number("threshold", threshold, least=0.0)
        self.min_lr = number("min_lr", min_lr, least=0.0)

    def make(self, optimizer: Optimizer, steps: Steps) -> LRScheduler:
        mode = "min" if less_is_better(str(self.metric)) else "max"
        how: Any = {"patience": self.patience, "threshold": self.threshold, "min_lr": self.min_lr}
        return ReduceLROnPlateau(optimizer, mode, self.factor, **how)

    def updated(self, scheduler: LRScheduler) -> None:
        """Nothing: it waits for a validation."""

    def validated(self, scheduler: LRScheduler, values: Mapping[str, float]) -> None:
        scheduler.step(values[str(self.metric)])  # type: ignore[arg-type] (the metric, of this scheduler)


class WarmupSchedule(RateSchedule):
    """After n updates the rate is lr (n + 1) / warmup_steps until that is lr; then it stays, or falls as the cosine of
    `CosineSchedule` does: with w = warmup_steps and N = steps, for n >= w - 1 it is
    min_lr + (lr - min_lr) (1 + cos(pi (n - w + 1) / (N - w + 1))) / 2.

    Args:
        warmup_steps: the update that is the first with the whole rate, counted from 1.
        then: "constant" or "cosine".
        steps: of the cosine, after how many updates it is at its end, warmup counted; None: the run's own.
        min_lr: of the cosine, the last rate.

    Raises:
        ValueError: an unknown `then`; warmup_steps < 1; steps <= warmup_steps; min_lr < 0.
    """

    def __init__(
        self, warmup_steps: int = 100, then: str = "constant", steps: int | None = None, min_lr: float = 0.0
    ) -> None:
        self.warmup_steps = integer("warmup_steps", warmup_steps)
        self.then = choice("then", then, ("constant", "cosine"))
        self.steps = None if steps is None else integer("steps", steps)
        if self.steps is not None and self.steps <= self.warmup_steps:
            raise ValueError(f"steps: given {steps}, expected more than warmup_steps={warmup_steps}")
        self.min_lr = number("min_lr", min_lr, least=0.0)
        self.spans_run = then == "cosine" and steps is None

    def make(self, optimizer: Optimizer, steps: Steps) -> LRScheduler:
        least = [self.min_lr / group["lr"] if group["lr"] else 0.0 for group in optimizer.param_groups]
        last = _whole(self.steps, steps) if self.then == "cosine" else 0

        def of_group(low: float) -> Callable[[int], float]:
            def factor(done: int) -> float:
                after = done + 1 - self.warmup_steps
                if after < 0:
                    return (done + 1) / self.warmup_steps
                if self.then == "constant":
                    return 1.0
                share = min(1.0, after / max(1, last + 1 - self.warmup_steps))
                return low + (1 - low) * (1 + math.cos(math.pi * share)) / 2

            return factor

        return LambdaLR(optimizer, [of_group(low) for low in least])


def _whole(given: int | None, steps: Steps) -> int:
    """The number of updates that a schedule goes over."""
    if given is not None:
        return given
    found = steps()
    if math.isinf(found):
        raise ValueError(
            "scheduler: goes over the run's steps, whose number nothing tells; give trainer.max_steps=N, "
            "trainer.max_epochs=N or scheduler.steps=N"
        )
    return max(1, int(found))
