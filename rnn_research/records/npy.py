"""Tables as files of numpy's, which may come from anywhere."""

from __future__ import annotations

import os
from typing import IO

import numpy as np

from rnn_research.records.wellformed import check_dtype, check_table


def read(file: IO[bytes]) -> np.ndarray:
    """The table in a .npy file, after looking at its header: it may ask for more memory than there is."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version in readers:
        shape, _, dtype = readers[version](file)
        check_dtype(dtype)
        if len(shape) != 1:
            raise ValueError("expected a table with named columns")
        held = os.fstat(file.fileno()).st_size - file.tell()
        if shape[0] * dtype.itemsize != held:
            raise ValueError(f"{held} bytes of rows, expected {shape[0] * dtype.itemsize}")
    file.seek(0)
    table = np.load(file, allow_pickle=False)
    check_dtype(table.dtype)
    check_table(table)
    return table
