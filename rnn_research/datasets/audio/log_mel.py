"""Log-mel spectrograms: the energy of sound in bands that lie as the ear hears them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from rnn_research.checks import integer, number


@dataclass(frozen=True)
class LogMel:
    """log(max(M |STFT(x)|^2, 1e-10)), natural logarithm.

    The transform takes Hann windows of `window` seconds every `hop` seconds, the first centred on the first sample,
    with silence around the recording. M has `bands` triangles whose corners lie evenly in mel, 2595 log10(1 + f / 700)
    (O'Shaughnessy 1987), from `lowest` to half the rate.

    Attributes:
        rate: samples a second.
        bands: how many numbers a step has.
        window, hop: seconds.
        lowest: Hz.

    Raises:
        ValueError: a value is out of range, or a band is narrower than the transform resolves.
    """

    rate: int = 16000
    bands: int = 40
    window: float = 0.025
    hop: float = 0.01
    lowest: float = 20.0

    def __post_init__(self) -> None:
        integer("rate", self.rate, least=1000, most=768000)
        integer("bands", self.bands)
        number("window", self.window, above=0.0, most=10.0)
        number("hop", self.hop, above=0.0, most=10.0)
        number("lowest", self.lowest, least=0.0, most=self.rate / 4)
        if round(self.hop * self.rate) < 1 or round(self.window * self.rate) < 8:
            raise ValueError(f"window: given {self.window}, expected at least 8 samples, and a hop of at least 1")
        empty = int((_filters(self) == 0).all(1).sum())
        if empty:
            raise ValueError(
                f"bands: given {self.bands}, of which {empty} are narrower than the transform resolves; use fewer, or "
                "a longer window"
            )

    @property
    def size(self) -> int:
        """Points of the transform: the power of two that holds a window."""
        return 1 << (round(self.window * self.rate) - 1).bit_length()

    def plain(self) -> dict[str, Any]:
        """The attributes in types that JSON has."""
        return asdict(self)

    def of(self, sound: np.ndarray, warp: float = 1.0) -> np.ndarray:
        """The spectrogram of mono sound at `rate`: (steps, bands) float32, steps = 1 + samples // (hop rate).

        Args:
            warp: the triangles' corners are moved to `warped` frequencies: what sounded at warp f lies where f lay.
        """
        wide, hop = round(self.window * self.rate), round(self.hop * self.rate)
        spectrum = torch.stft(
            torch.from_numpy(np.ascontiguousarray(sound, dtype=np.float64)),
            self.size,
            hop,
            wide,
            torch.hann_window(wide, dtype=torch.float64),
            pad_mode="constant",
            return_complex=True,
        )
        weights = _filters(self) if warp == 1 else _triangles(self, warp)
        energy = torch.from_numpy(weights) @ (spectrum.real**2 + spectrum.imag**2)
        return energy.clamp(min=1e-10).log().T.float().numpy()


@cache
def _filters(features: LogMel) -> np.ndarray:
    return _triangles(features, 1.0)


def _triangles(features: LogMel, warp: float) -> np.ndarray:
    """(bands, size / 2 + 1): the weight of each frequency in each band."""
    evenly = np.linspace(mel(features.lowest), mel(features.rate / 2), features.bands + 2)
    corners = warped(hertz(evenly), warp, features.rate / 2)
    frequencies = np.linspace(0, features.rate / 2, features.size // 2 + 1)
    left, middle, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    up, down = (frequencies - left) / (middle - left), (right - frequencies) / (right - middle)
    return np.maximum(0.0, np.minimum(up, down))


def warped(frequency: np.ndarray, warp: float, highest: float) -> np.ndarray:
    """Frequencies as a vocal tract 1 / `warp` times as long makes them: f warp up to a knee, and from there straight on
    to `highest`, which stays where it is: Jaitly & Hinton 2013 (the knee at 0.8 of the highest, theirs at 0.6)."""
    knee = 0.8 * highest * min(warp, 1.0) / warp
    above = highest - (highest - knee * warp) / (highest - knee) * (highest - frequency)
    return np.where(frequency <= knee, frequency * warp, above)


def mel(frequency: Any) -> Any:
    """Mel of a frequency in Hz."""
    return 2595.0 * np.log10(1.0 + np.asarray(frequency) / 700.0)


def hertz(pitch: Any) -> Any:
    """The frequency in Hz of a pitch in mel."""
    return 700.0 * (10.0 ** (np.asarray(pitch) / 2595.0) - 1.0)
