"""Benchmarks: interleaved rounds in one process, one thread, CPU time, medians of within-round ratios. Not tests."""
