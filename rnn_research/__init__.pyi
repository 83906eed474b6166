# What a type checker reads in place of __init__.py, which imports these when they are first asked for.
from rnn_research.compare import compare as compare
from rnn_research.records.runs import load as load
from rnn_research.structures import Chain as Chain
from rnn_research.structures import Forest as Forest
from rnn_research.training.fit import fit as fit
from rnn_research.unroll import unroll as unroll

__version__: str
