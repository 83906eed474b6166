"""Models: an architecture around cells, an objective, and the steps of training, as lightning's module."""

from rnn_research.models.model import Model

__all__ = ["Model"]
