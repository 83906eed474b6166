"""Structures: which state feeds which. A chain (sequence) or a forest (a batch of trees), and conversions."""

from rnn_research.structures.chain import Chain
from rnn_research.structures.forest import Forest
from rnn_research.structures.layout import Balanced, Batch, Layout, Parse, Sample, Sequence, Stack, natural
from rnn_research.structures.tree import Tree, balanced, left_branching, right_branching

Structure = Chain | Forest

__all__ = [
    "Balanced",
    "Batch",
    "Chain",
    "Forest",
    "Layout",
    "Parse",
    "Sample",
    "Sequence",
    "Stack",
    "Structure",
    "Tree",
    "balanced",
    "left_branching",
    "natural",
    "right_branching",
]
