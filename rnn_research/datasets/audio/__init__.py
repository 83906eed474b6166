"""Recorded sound, read as log-mel spectrograms."""
