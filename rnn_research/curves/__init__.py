"""Vanishing curves: the norm of a state's adjoint against distance, its decay rate, and the word for it."""

from rnn_research.curves.norms import QUANTILES, Curve, curve, last_step, states, steps
from rnn_research.curves.rate import FLOOR, FRACTION, Decay, decay
from rnn_research.curves.seeds import CONFIDENCE, Band, Interval, Reading, band, interval, t_quantile, together
from rnn_research.curves.words import FALL, RISE, WORDS, Verdict, spoken, verdict

__all__ = [
    "CONFIDENCE",
    "FALL",
    "FLOOR",
    "FRACTION",
    "QUANTILES",
    "RISE",
    "WORDS",
    "Band",
    "Curve",
    "Decay",
    "Interval",
    "Reading",
    "Verdict",
    "band",
    "curve",
    "decay",
    "interval",
    "last_step",
    "spoken",
    "states",
    "steps",
    "t_quantile",
    "together",
    "verdict",
]
