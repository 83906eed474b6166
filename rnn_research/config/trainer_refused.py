"""Arguments of lightning's Trainer that would do something else here than they say: refused, each with its reason."""

from __future__ import annotations

from typing import Any

from rnn_research.config.trainer_keys import KEYS

REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "overfit_batches": (
        (None, 0, 0.0),
        "lightning would take other batches each epoch, since the samples are shuffled anew; to overfit a few, give "
        "fewer samples (dataset.train_size=N, where the dataset has it)",
    ),
    "reload_dataloaders_every_n_epochs": (
        (None, 0),
        "a loader made anew would begin with the first epoch's order again, which is another training; leave it out",
    ),
    "plugins": ((None, []), "a plugin may change the training in ways that no record tells; leave it out"),
    "sync_batchnorm": ((None, False), "a run has one device, so that nothing is to be synchronised; leave it out"),
    "limit_predict_batches": ((None,), "nothing is predicted here, so that it would do nothing; leave it out"),
    "enable_autolog_hparams": ((None, True), "a run's record holds its config already; leave it out"),
    "model_registry": ((None,), "a run's checkpoint lies in its folder, and nothing is sent; leave it out"),
}
"""By name: the values that change nothing, and why others are refused. Those that this project gives itself are in
`instantiate.LATER`, and gradient clipping in `groups.REFUSED`."""
FREE = (KEYS.keys() | {"accelerator", "devices", "num_nodes", "strategy"}) - REFUSED.keys()
"""Those that do here what lightning says of them, or that `config` checks further."""


def check_meaning(given: dict[str, Any]) -> None:
    """Refuse arguments that would mislead.

    Raises:
        ValueError: names the first, and says why.
    """
    for key, value in given.items():
        harmless, why = REFUSED.get(key, ((value,), ""))
        if not any(type(value) is type(one) and value == one for one in harmless):
            raise ValueError(f"{key}: given {value!r}, not supported: {why}")
    if isinstance(given.get("val_check_interval"), str | dict):
        raise ValueError(
            f"val_check_interval: given {given['val_check_interval']!r}, a time by the clock, at which no second run "
            "would validate; expected a share of an epoch or a number of batches"
        )
