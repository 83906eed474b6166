"""Image sequences: a frame a step."""
