"""Models: LightningModules that encode a batch, fold a cell along its structure, read out and compare with targets."""

from rnn_research.models.model import Model, Observed

__all__ = ["Model", "Observed"]
