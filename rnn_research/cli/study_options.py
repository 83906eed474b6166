"""What a study searches, and by what: read from Hydra's sweep syntax and from the sweeper's options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from omegaconf import OmegaConf

from rnn_research.checks import choice, integer
from rnn_research.config.parsed_overrides import parsed
from rnn_research.errors import UsageError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution  # pyright: ignore[reportMissingImports]

AS_TYPED = "optimizer.lr=tag(log,interval(1e-4,1e-1)) hidden_size=int(interval(4,64)) model=rnn,gru"


@dataclass(frozen=True)
class StudyOptions:
    """Of `hydra/sweeper=optuna`.

    Attributes:
        n_trials: in all, those of earlier commands in the same folder among them.
        metric: as a record has it, `<split>_<name>`.
        direction: `minimize`, `maximize`, or auto: as the metric's name says.
        sampler: `tpe`, `random` or `gp`.
        seed: of the sampler.
        storage: `journal`, a file of lines; or `sqlite`.
        pruner: `none`; or `median`: a trial ends at a validation at which it is worse than the median of those before.
        pruner_trials: so many are trained to their end before any is pruned.
        pruner_steps: none is pruned before this step.
    """

    n_trials: int = 20
    metric: str = "val_loss"
    direction: str = "auto"
    sampler: str = "tpe"
    seed: int = 0
    storage: str = "journal"
    pruner: str = "none"
    pruner_trials: int = 5
    pruner_steps: int = 0

    @classmethod
    def of(cls, node: Any) -> StudyOptions:
        """What a sweeper's config says.

        Raises:
            UsageError: names the key that has another value than it may.
        """
        given: Any = OmegaConf.to_container(node, resolve=True)
        found = cls(**{one.name: given[one.name] for one in fields(cls) if one.name in given})
        try:
            integer("n_trials", found.n_trials)
            integer("seed", found.seed, least=0)
            choice("direction", found.direction, ("auto", "minimize", "maximize"))
            choice("sampler", found.sampler, ("tpe", "random", "gp"))
            choice("storage", found.storage, ("journal", "sqlite"))
            choice("pruner", found.pruner, ("none", "median"))
            integer("pruner_trials", found.pruner_trials)
            integer("pruner_steps", found.pruner_steps, least=0)
            if not isinstance(found.metric, str) or "_" not in found.metric:
                raise ValueError(f"metric: given {found.metric!r}, expected <split>_<name>, as val_loss")
            if found.pruner != "none" and not found.metric.startswith("val_"):
                raise ValueError(f"pruner: looks at validations, but metric={found.metric}; expected one as val_loss")
        except ValueError as error:
            raise UsageError(f"hydra.sweeper.{error}") from None
        return found

    @property
    def maximised(self) -> bool:
        """Whether more is better."""
        from rnn_research.datasets.task import less_is_better

        if self.direction != "auto":
            return self.direction == "maximize"
        return not less_is_better(self.metric.partition("_")[2])


@dataclass(frozen=True)
class Space:
    """What is searched.

    Attributes:
        fixed: the overrides that all trials have.
        searched: key -> what was typed for it.
    """

    fixed: list[str]
    searched: dict[str, str]

    @classmethod
    def of(cls, overrides: Sequence[str], params: Mapping[str, Any]) -> Space:
        """From overrides, and what a config says is swept.

        Raises:
            UsageError: nothing is searched.
        """
        typed = {text.partition("=")[0].lstrip("+~") for text in overrides}
        told = [f"{key}={value}" for key, value in params.items() if str(key).lstrip("+~") not in typed]
        fixed, searched = [], {}
        for text in (*told, *overrides):
            override = parsed(text)
            if override is not None and override.is_sweep_override():
                searched[override.get_key_element()] = text.partition("=")[2]
            else:
                fixed.append(text)
        if not searched:
            raise UsageError(
                f"hydra/sweeper=optuna: nothing is searched; expected keys with several values, as {AS_TYPED}"
            )
        return cls(fixed, searched)

    def distributions(self) -> dict[str, BaseDistribution]:
        """Of each key, as Optuna has it."""
        return {key: _distribution(key, parsed(f"{key}={text}")) for key, text in self.searched.items()}

    def overrides(self, params: Mapping[str, Any]) -> list[str]:
        """Those of one trial."""
        return [
            *self.fixed,
            *(f"{key}={value if isinstance(value, str) else repr(value)}" for key, value in params.items()),
        ]


def _distribution(key: str, override: Override | None) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # pyright: ignore[reportMissingImports]

    assert override is not None
    value, tags = override.value(), getattr(override.value(), "tags", set())
    if unknown := {str(tag) for tag in tags} - {"log", "int"}:
        raise UsageError(f"{key}: given the tag {min(unknown)}, expected log or int")
    shuffled = bool(getattr(value, "shuffle", False))
    if shuffled:
        value.shuffle = False  # type: ignore[union-attr]  # a study that goes on must find the same options
    try:
        if isinstance(value, IntervalSweep):
            whole = "int" in tags or (isinstance(value.start, int) and isinstance(value.end, int))
            low, high = (int(one) if whole else float(one) for one in (value.start or 0, value.end or 0))
            return (IntDistribution if whole else FloatDistribution)(low, high, log="log" in tags)
        if isinstance(value, RangeSweep) and not shuffled:
            numbers: list[Any] = sorted(override.sweep_iterator())  # type: ignore[type-var]
            step = abs(value.step or 1)
            if all(isinstance(number, int) for number in numbers):
                return IntDistribution(numbers[0], numbers[-1], step=int(step))
        return CategoricalDistribution([str(text) for text in override.sweep_string_iterator()])
    except (ValueError, IndexError) as error:
        given = str(override.input_line).partition("=")[2]
        raise UsageError(f"{key}: given {given}, which Optuna can't search: {error}") from None
