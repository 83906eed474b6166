"""Sequences of numbers: sensors, joints of a skeleton, coefficients of speech, pixels."""
