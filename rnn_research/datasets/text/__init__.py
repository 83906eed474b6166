"""Data that are text: how it is split into tokens, and which tokens a model knows."""
