"""Lightning's training loop, less what it asks of everybody at every batch.

Lightning calls some twenty hooks a batch, each of every callback, of the model and of the strategy, whether it does
anything or not; with a name for a profiler, a look for overridden methods, and one at metrics that nobody logged. For
small cells that is as much as a step of training. Here, at every batch, hooks are called in the same order where
somebody has overridden them. Whatever is not plain (a profiler, several devices, the batch at which a run goes on,
optimisation by hand) goes lightning's own way.

Names of lightning's that begin with `_` are used here, since it has no public way to replace its loop: the same numbers
as with its own loop are a test.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from math import isinf
from typing import Any

from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loops.fetchers import _DataFetcher, _DataLoaderIterDataFetcher
from lightning.pytorch.loops.optimization.automatic import ClosureResult, _AutomaticOptimization
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins.precision import Precision
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.optim import Optimizer

TRANSFER = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")


def make_lean(trainer: Trainer) -> None:
    """Let `trainer` call only the hooks that do something."""
    loop = trainer.fit_loop.epoch_loop
    lean = LeanEpochLoop(trainer, min_steps=loop.min_steps, max_steps=loop.max_steps)
    trainer.fit_loop.epoch_loop = lean
    plugin, hooks = trainer.precision_plugin, lean.hooks

    def before(loss: Tensor, module: LightningModule) -> Tensor:
        hooks.call("on_before_backward", loss)
        return loss

    def after(loss: Tensor, module: LightningModule) -> Tensor:
        loss = loss.detach()
        hooks.call("on_after_backward")
        return loss

    def after_closure(model: LightningModule, optimizer: Optimizer) -> None:
        hooks.call("on_before_optimizer_step", optimizer)
        limits = trainer.gradient_clip_val, trainer.gradient_clip_algorithm
        hooks.within("configure_gradient_clipping", [model.configure_gradient_clipping], optimizer, *limits)

    if type(plugin).pre_backward is Precision.pre_backward and type(plugin).post_backward is Precision.post_backward:
        plugin.pre_backward, plugin.post_backward = before, after  # type: ignore[method-assign]
    plugin._after_closure = after_closure  # type: ignore[assignment,method-assign]
    if type(plugin) is Precision and type(trainer.strategy) is SingleDeviceStrategy:
        _make_direct(trainer, hooks)


def _make_direct(trainer: Trainer, hooks: Hooks) -> None:
    """One device and one precision change nothing of a step: their strategy hands it to the model at once, where
    lightning goes through the plugin, with a context for each."""
    strategy, plugin = trainer.strategy, trainer.precision_plugin

    def training_step(*arguments: Any) -> Any:
        return trainer.lightning_module.training_step(*arguments)

    def backward(loss: Tensor, optimizer: Optimizer | None, *arguments: Any, **named: Any) -> Tensor:
        hooks.call("on_before_backward", loss)
        trainer.lightning_module.backward(loss, *arguments, **named)
        hooks.call("on_after_backward")
        return loss.detach()

    def optimizer_step(optimizer: Optimizer, closure: Callable[[], Any], model: Any = None, **named: Any) -> Any:
        return optimizer.step(
            closure=partial(plugin._wrap_closure, trainer.lightning_module, optimizer, closure), **named
        )

    strategy.training_step, strategy.backward = training_step, backward  # type: ignore[method-assign]
    strategy.optimizer_step = optimizer_step  # type: ignore[method-assign]


class Hooks:
    """Calls a hook of those callbacks, and of the model, that have overridden it."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self._known: dict[str, list[Callable[..., Any]]] = {}
        self._of_model: dict[str, Any] = {}

    def begin(self) -> None:
        """Look who overrides what, for an epoch."""
        self._known.clear()
        self._of_model = vars(self.trainer.lightning_module)  # torch's `__setattr__` would look for parameters

    def call(self, name: str, *arguments: Any) -> None:
        """The callbacks' first, then the model's."""
        if name not in self._known:
            self._known[name] = self._find(name)
        if methods := self._known[name]:
            self.within(name, methods, *arguments)

    def within(self, name: str, methods: Sequence[Callable[..., Any]], *arguments: Any) -> Any:
        """What the last of these methods gives. Meanwhile the model has the name of the hook, under which it logs."""
        told, answer = self._of_model, None
        before, told["_current_fx_name"] = told["_current_fx_name"], name
        for method in methods:
            answer = method(*arguments)
        told["_current_fx_name"] = before
        return answer

    def _find(self, name: str) -> list[Callable[..., Any]]:
        trainer, model = self.trainer, self.trainer.lightning_module
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        found = [partial(getattr(one, name), trainer, model) for one in callbacks if overrides(one, name, Callback)]
        return [*found, getattr(model, name)] if overrides(model, name, LightningModule) else found


def overrides(one: Any, name: str, base: type) -> bool:
    """Whether an object's method is not that of the base class."""
    return name in vars(one) or getattr(type(one), name) is not getattr(base, name)


class LeanOptimization(_AutomaticOptimization):
    """Forward, zero the gradients, backward and step."""

    def __init__(self, trainer: Trainer, hooks: Hooks) -> None:
        super().__init__(trainer)
        self.hooks = hooks

    def _make_backward_fn(self, optimizer: Optimizer) -> Callable[[Tensor], None]:
        def backward(loss: Tensor) -> None:
            self.trainer.strategy.backward(loss, optimizer)

        return backward

    def _on_before_zero_grad(self, optimizer: Optimizer) -> None:
        self.optim_progress.optimizer.zero_grad.increment_ready()
        self.hooks.call("on_before_zero_grad", optimizer)
        self.optim_progress.optimizer.zero_grad.increment_started()

    def _optimizer_zero_grad(self, batch_idx: int, optimizer: Optimizer) -> None:
        self.trainer.lightning_module.optimizer_zero_grad(self.trainer.current_epoch, batch_idx, optimizer)
        self.optim_progress.optimizer.zero_grad.increment_completed()

    def _training_step(self, kwargs: Any) -> ClosureResult:
        loss = self.hooks.within("training_step", [self.trainer.strategy.training_step], *kwargs.values())
        batches = self.trainer.accumulate_grad_batches
        if batches == 1 and isinstance(loss, Tensor):  # lightning would divide by 1, which has a backward pass
            return ClosureResult(loss)
        return ClosureResult.from_training_step_output(loss, batches)

    def _optimizer_step(self, batch_idx: int, train_step_and_backward_closure: Callable[[], Tensor | None]) -> None:
        trainer, progress = self.trainer, self.optim_progress.optimizer.step
        progress.increment_ready()
        epoch, optimizer = trainer.current_epoch, trainer.strategy._lightning_optimizers[0]
        trainer.lightning_module.optimizer_step(epoch, batch_idx, optimizer, train_step_and_backward_closure)
        progress.increment_completed()


class LeanEpochLoop(_TrainingEpochLoop):
    """An epoch of training."""

    def __init__(self, trainer: Trainer, **limits: Any) -> None:
        super().__init__(trainer, **limits)
        self.hooks = Hooks(trainer)
        self.automatic_optimization = LeanOptimization(trainer, self.hooks)
        self._lean = self._indexed = self._validates = self._scheduled = False
        self._steps = self.automatic_optimization.optim_progress.optimizer.step.total
        self._batches: float = 0
        self._counted = 0

    def on_run_start(self, data_fetcher: _DataFetcher) -> None:
        super().on_run_start(data_fetcher)
        self.hooks.begin()
        self._lean = self._is_plain(data_fetcher)
        self._indexed = "batch_idx" in super()._build_kwargs(OrderedDict(), None, 0)
        self._validates = self.trainer.enable_validation
        self._scheduled = bool(self.trainer.lr_scheduler_configs)
        self._batches = self.trainer.num_training_batches
        self._counted = self._batches_between()
        if self._lean:
            data_fetcher._start_profiler = data_fetcher._stop_profiler = _nothing

    def _batches_between(self) -> int:
        """The batches of an epoch between two validations; 0: it is not they that say when one is due."""
        trainer, every = self.trainer, self.trainer.val_check_batch
        timed = getattr(trainer, "_val_check_time_interval", None) is not None
        counts_all = trainer.check_val_every_n_epoch is None
        return 0 if timed or counts_all or not self._lean or every is None or isinf(every) else int(every)

    @property
    def global_step(self) -> int:
        """Lightning asks the model who takes the steps."""
        return self._steps.completed if self._lean else super().global_step

    @property
    def _is_training_done(self) -> bool:
        """Lightning asks for each of these by a method of its own, twice a batch."""
        if not self._lean:
            return super()._is_training_done
        taken, batches = self._steps.completed, self.batch_progress
        enough = self.max_steps != -1 and taken >= self.max_steps
        return enough or batches.current.ready == self._batches or batches.is_last_batch

    def update_lr_schedulers(self, interval: str, update_plateau_schedulers: bool) -> None:
        """Lightning looks first whether a step is done."""
        if self._scheduled:
            super().update_lr_schedulers(interval, update_plateau_schedulers)

    def _should_accumulate(self) -> bool:
        """Lightning looks first whether this is the last batch."""
        return self.trainer.accumulate_grad_batches > 1 and super()._should_accumulate()

    def _is_plain(self, data_fetcher: _DataFetcher) -> bool:
        """Whether lightning would do nothing more at a batch than `advance` does."""
        trainer, model = self.trainer, self.trainer.lightning_module
        data = trainer.datamodule  # type: ignore[attr-defined]
        moves = any(overrides(model, name, LightningModule) for name in TRANSFER)
        moves |= data is not None and any(overrides(data, name, LightningDataModule) for name in TRANSFER)
        return (
            type(trainer.strategy) is SingleDeviceStrategy
            and model.automatic_optimization
            and not moves
            and not overrides(model, "on_train_batch_start", LightningModule)
            and not isinstance(data_fetcher, _DataLoaderIterDataFetcher)
            and getattr(trainer.profiler, "lean", False)  # type: ignore[attr-defined]
        )

    def _build_kwargs(self, kwargs: OrderedDict[str, Any], batch: Any, batch_idx: int) -> OrderedDict[str, Any]:
        """Lightning looks at the signature of `training_step` again."""
        kwargs["batch"] = batch
        if self._indexed:
            kwargs["batch_idx"] = batch_idx
        return kwargs

    def _should_check_val_fx(self, data_fetcher: _DataFetcher) -> bool:
        """Lightning asks first for what does not change within an epoch."""
        if self._counted and self.batch_progress.current.ready % self._counted and not self.trainer.should_stop:
            return False
        return super()._should_check_val_fx(data_fetcher)

    def _should_check_val_epoch(self) -> bool:
        """Lightning looks at the class of the model again."""
        if not self._lean:
            return super()._should_check_val_epoch()
        trainer, every = self.trainer, self.trainer.check_val_every_n_epoch
        due = every is None or (trainer.current_epoch + 1) % every == 0
        return due and self._validates and trainer.limit_val_batches > 0

    def advance(self, data_fetcher: _DataFetcher) -> None:
        if not self._lean or self._restarting:
            super().advance(data_fetcher)
            return
        if self.val_loop._restarting:
            self.val_loop.restarting = False
        batch, _, _ = next(data_fetcher)
        try:
            self._train(batch, data_fetcher)
        except StopIteration as error:  # lightning would take it for the end of the epoch
            raise RuntimeError("StopIteration, in a step of training") from error

    def _train(self, batch: Any, data_fetcher: _DataFetcher) -> None:
        trainer, progress = self.trainer, self.batch_progress
        index = self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        batch = trainer.precision_plugin.convert_input(batch)
        if trainer.strategy.root_device.type != "cpu":
            batch = move_data_to_device(batch, trainer.strategy.root_device)
        progress.increment_ready()
        self._begin_logging(batch)
        self.hooks.call("on_train_batch_start", batch, index)
        progress.increment_started()
        arguments = self._build_kwargs(OrderedDict(), batch, index)
        output = self.automatic_optimization.run(trainer.optimizers[0], index, arguments)
        progress.increment_processed()
        self.update_lr_schedulers("step", update_plateau_schedulers=False)
        if self._num_ready_batches_reached():
            self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        self.hooks.call("on_train_batch_end", output, batch, index)
        if self._results:  # what a callback or the model has logged
            trainer._logger_connector.on_batch_end()
        progress.increment_completed()
        if self._results:
            trainer._logger_connector.update_train_step_metrics()

    def _begin_logging(self, batch: Any) -> None:
        """As the connector's `on_batch_start`, which looks for these results."""
        connector, results = self.trainer._logger_connector, self._results
        connector._first_loop_iter = connector._first_loop_iter is None
        results.batch, results.batch_size, results.dataloader_idx = batch, None, None


def _nothing() -> None:
    """Where a profiler would be told."""
