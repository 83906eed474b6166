"""Vanishing curves: the norm of a state's adjoint against distance, how much of it arrives, and the word for that."""

from rnn_research.curves.bounds import DOUBLE, FALL, HALF, LADDER, RISE, WORDS
from rnn_research.curves.columns import (
    JOINT,
    NETWORKS,
    check,
    directions,
    last_finite_step,
    last_step,
    layers,
    of_direction,
    of_part,
    states,
    steps,
)
from rnn_research.curves.far_ratio import FarRatio
from rnn_research.curves.laws import Law, law
from rnn_research.curves.norms import Curve, curve
from rnn_research.curves.rate import FRACTION, RESOLUTION, Decay, decay
from rnn_research.curves.samples import SampleGroup
from rnn_research.curves.summary import CurveSummary, summary
from rnn_research.curves.together import Reading, together
from rnn_research.curves.typical import FLOOR, RESAMPLES, Typical, typical
from rnn_research.curves.verdicts import Verdict, beyond, format_interval, rate_spoken, ratio_spoken, short, verdict

__all__ = [
    "DOUBLE",
    "FALL",
    "FLOOR",
    "FRACTION",
    "HALF",
    "JOINT",
    "LADDER",
    "NETWORKS",
    "RESAMPLES",
    "RESOLUTION",
    "RISE",
    "WORDS",
    "Curve",
    "CurveSummary",
    "Decay",
    "FarRatio",
    "Law",
    "Reading",
    "SampleGroup",
    "Typical",
    "Verdict",
    "beyond",
    "check",
    "curve",
    "decay",
    "directions",
    "format_interval",
    "last_finite_step",
    "last_step",
    "law",
    "layers",
    "of_direction",
    "of_part",
    "rate_spoken",
    "ratio_spoken",
    "short",
    "states",
    "steps",
    "summary",
    "together",
    "typical",
    "verdict",
]
