"""Wav files: 8- to 32-bit PCM and float, of any rate and number of channels."""

from __future__ import annotations

import io
import warnings
from math import gcd
from pathlib import Path

import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

from rnn_research.datasets.audio.riff import EXPECTED, checked_wav
from rnn_research.datasets.own.files import refusal

RATES = (1000, 768000)
"""Samples a second that a recording may have."""
LOUDEST = 1e30
"""Of float samples, which should lie in [-1, 1]: far above it the energy of a band has no float."""


def wav_samples(path: Path, content: bytes) -> tuple[int, np.ndarray]:
    """The rate of a wav file and its samples in [-1, 1], (samples, channels) float64.

    Integers are divided by their largest; 8-bit ones lie around 128.

    Raises:
        ValueError: it is no wav file, is cut short, or holds no finite sample.
    """
    content = checked_wav(path, content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", wavfile.WavFileWarning)
            warnings.filterwarnings("ignore", "Chunk .non-data.", wavfile.WavFileWarning)
            rate, values = wavfile.read(io.BytesIO(content))
    except Exception:  # struct and numpy each have their own
        raise refusal(path, f"has a header that contradicts itself or the file's size, {EXPECTED}") from None
    if not values.size:
        raise refusal(path, "holds no sample, expected some sound")
    if not RATES[0] <= rate <= RATES[1]:
        raise refusal(path, f"has {rate} samples a second, expected {RATES[0]} to {RATES[1]}")
    sound = _scaled(values)
    if not np.isfinite(sound).all():
        raise refusal(path, "holds NaN or infinite samples, expected finite ones")
    if np.abs(sound).max() > LOUDEST:
        raise refusal(path, f"holds samples up to {np.abs(sound).max():g}, expected at most {LOUDEST:g}")
    return int(rate), sound[:, None] if sound.ndim == 1 else sound


def _scaled(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f":
        return values.astype(np.float64)
    if values.dtype == np.uint8:
        return (values.astype(np.float64) - 128) / 128
    return values.astype(np.float64) / (np.iinfo(values.dtype).max + 1.0)


def mono_at(rate: int, sound: np.ndarray, wanted: int) -> np.ndarray:
    """The mean of the channels at the wanted rate, by polyphase filtering (`scipy.signal.resample_poly`)."""
    mono = sound.mean(1)
    if rate == wanted:
        return mono
    common = gcd(rate, wanted)
    return resample_poly(mono, wanted // common, rate // common)
