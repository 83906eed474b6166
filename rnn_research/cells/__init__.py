"""Cells: one update each. One file a cell; the contract is in `base`."""

from rnn_research.cells.base import Cell, Hidden, HiddenCell, Initialisation, State
from rnn_research.cells.gru import GRU
from rnn_research.cells.lstm import LSTM
from rnn_research.cells.rnn import RNN
from rnn_research.cells.tree_lstm import ChildSumTreeLSTM, NaryTreeLSTM
from rnn_research.cells.tree_rnn import TreeRNN

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Cell",
    "ChildSumTreeLSTM",
    "Hidden",
    "HiddenCell",
    "Initialisation",
    "NaryTreeLSTM",
    "State",
    "TreeRNN",
]
