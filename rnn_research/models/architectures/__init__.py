"""Architectures: what stands around the cells, from a batch to what is compared with its targets.

The config group `architecture=`. One file an architecture; the contract is in `base`.
"""

from rnn_research.models.architectures.automatic import automatic_architecture
from rnn_research.models.architectures.base import Architecture, Blueprint, Unroll
from rnn_research.models.architectures.ctc import CTC
from rnn_research.models.architectures.encoder_decoder import EncoderDecoder
from rnn_research.models.architectures.label import Label
from rnn_research.models.architectures.next_token import NextToken
from rnn_research.models.architectures.position import Position

__all__ = [
    "CTC",
    "Architecture",
    "Blueprint",
    "EncoderDecoder",
    "Label",
    "NextToken",
    "Position",
    "Unroll",
    "automatic_architecture",
]
