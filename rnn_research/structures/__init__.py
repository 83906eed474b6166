"""Structures: which state feeds which. A chain (sequence) or a forest (a batch of trees), and conversions."""

from rnn_research.structures.chain import Chain
from rnn_research.structures.forest import Forest
from rnn_research.structures.layouts import (
    BalancedTreeLayout,
    ChainLayout,
    Layout,
    LeftBranchingLayout,
    ParseTreeLayout,
    RightBranchingLayout,
    automatic_layout,
)
from rnn_research.structures.samples import Batch, Sample, SampleArrays, evenly_spread
from rnn_research.structures.tree import Tree, balanced, left_branching, right_branching

Structure = Chain | Forest

__all__ = [
    "BalancedTreeLayout",
    "Batch",
    "Chain",
    "ChainLayout",
    "Forest",
    "Layout",
    "LeftBranchingLayout",
    "ParseTreeLayout",
    "RightBranchingLayout",
    "Sample",
    "SampleArrays",
    "Structure",
    "Tree",
    "automatic_layout",
    "balanced",
    "evenly_spread",
    "left_branching",
    "right_branching",
]
