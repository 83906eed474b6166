"""From clips to samples: frames of one form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from rnn_research.datasets.encoder import Encoder, Item
from rnn_research.datasets.frames.clips import clips_at, frames_in, spread
from rnn_research.datasets.frames.images import FrameForm, FramesSeen, clip_of
from rnn_research.structures import Sample


@dataclass(frozen=True, eq=False)
class FrameEncoder(Encoder):
    """Frames as bytes, a row a frame; the model brings them to [0, 1].

    Attributes:
        form: of every frame.
        classes: their names, in order.
        every, most: which frames of a clip are read, see `clips.spread`.
    """

    kind: ClassVar[str] = "frames"

    form: FrameForm
    classes: tuple[str, ...] = ()
    every: int = 1
    most: int | None = None

    def plain(self) -> dict[str, Any]:
        return {"form": self.form.plain(), "classes": list(self.classes), "every": self.every, "most": self.most}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        try:
            form, classes = FrameForm(**plain["form"]), tuple(map(str, plain["classes"]))
            return cls(form, classes, int(plain["every"]), None if plain["most"] is None else int(plain["most"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"encoder: given one of frames that is damaged ({error})") from None

    def encode(self, raw: Any, target: Any = 0) -> Sample:
        """The sample of a clip, (steps, channels height width) uint8."""
        values, features = np.asarray(raw), int(np.prod(self.form.shape))
        if values.dtype != np.uint8 or values.ndim != 2 or values.shape[1] != features or not len(values):
            raise ValueError(f"found {values.dtype} of shape {values.shape}, expected uint8 of (steps, {features})")
        return Sample(values, target)

    def items(self, path: Path) -> Iterator[Item]:
        """The clip that a folder of images is, or each clip of a folder of folders, with its class."""
        if path.is_dir() and (own := frames_in(path)):
            label = path.resolve().parent.name
            yield self._item(path, own, label if label in self.classes else None)
            return
        for clip in clips_at(path):
            yield self._item(clip.folder, clip.frames, clip.label)

    def _item(self, folder: Path, frames: tuple[Path, ...], label: str | None) -> Item:
        return Item(str(folder), clip_of(spread(frames, self.every, self.most), self.form, FramesSeen()), label)
