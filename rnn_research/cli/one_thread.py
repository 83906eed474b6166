"""Imported before numpy: its linear algebra takes one thread. `rnn-compare` multiplies small matrices in a process for
each core, and threads of all of them would wait for each other: 2,000 runs took twice as long."""

import os

for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
