"""Memory for batches that is used again: to get new memory from the system takes longer than to fill it."""

import math
import sys

import numpy as np

MOST, ALIGNED = 16, 64  # blocks; bytes
FREE = 3  # references to a block that nobody else holds: the list's, the loop's and the call's
COUNTS_SO = sys.version_info < (3, 14)  # from there on a loop's reference is not counted


class Blocks:
    """Gives out arrays, in the memory of earlier ones of the same size that nobody holds any more.

    Whether somebody does is known from CPython's reference counts; in versions that count otherwise, every array is a new one.
    """

    def __init__(self):
        self.blocks = []

    def array(self, shape, dtype):
        """An array with anything in it, its first byte at a multiple of 64: TensorFlow takes such without a copy."""
        size = math.prod(shape) * dtype.itemsize
        for block in self.blocks:
            if COUNTS_SO and sys.getrefcount(block) == FREE and len(block) == size + ALIGNED:
                break
        else:
            block = np.empty(size + ALIGNED, np.uint8)
            if len(self.blocks) < MOST:
                self.blocks.append(block)
        start = -block.ctypes.data % ALIGNED
        return block[start : start + size].view(dtype).reshape(shape)
