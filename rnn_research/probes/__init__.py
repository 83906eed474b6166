"""Probes: what is measured of gradients and states while a model trains. The config group `probe=`.

One file a probe; the contract is in `base`.
"""
