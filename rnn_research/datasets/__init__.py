"""Datasets: the config group `dataset=`. One file a dataset; the contract is in `base`."""
