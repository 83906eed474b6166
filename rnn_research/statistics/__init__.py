"""Intervals and tests from numbers alone. Needs no torch."""
