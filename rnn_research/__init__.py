"""Recurrent cells on chains and trees, and what their gradients do on the way back."""

__version__ = "0.1.0"
