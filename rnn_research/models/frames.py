"""What a model reads of an image: a small convolutional net, the same at every step."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

FIRST, SECOND = 16, 32
"""Channels of the two convolutions."""


class FrameReader(nn.Module):
    """features = W relu(conv2(relu(conv1(x)))) + b, with x the pixels in [0, 1]; both convolutions are 3x3 with a
    stride of 2 and zeros around the image.

    Frames that are padding are not read, and give zeros. In evaluation each clip is read alone, so that its features
    are the same bits in any batch.

    Args:
        shape: of a frame: channels, height, width.
        features: of a frame.
    """

    def __init__(self, shape: tuple[int, int, int], features: int) -> None:
        super().__init__()
        self.shape = shape
        channels, height, width = shape
        self.first = nn.Conv2d(channels, FIRST, 3, stride=2, padding=1)
        self.second = nn.Conv2d(FIRST, SECOND, 3, stride=2, padding=1)
        self.read = nn.Linear(SECOND * -(-height // 4) * -(-width // 4), features)

    def forward(
        self, frames: Float[Tensor, "batch time pixels"], mask: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time features"]:
        found = frames.new_zeros((*mask.shape, self.read.out_features))
        together = [frames[mask]] if self.training else [clip[real] for clip, real in zip(frames, mask, strict=True)]
        read = torch.cat([self.features(some) for some in together])  # half, where precision is mixed
        return found.masked_scatter(mask[..., None], read.to(found.dtype))

    def features(self, frames: Float[Tensor, "frames pixels"]) -> Float[Tensor, "frames features"]:
        """Of frames, in any order."""
        read = self.first(frames.view(-1, *self.shape) / 255).relu()
        return self.read(self.second(read).relu().flatten(1))
