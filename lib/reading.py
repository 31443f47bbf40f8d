"""Strips read ahead in threads while a network works, each decoded once for all networks that take it at one size."""

from concurrent.futures import ThreadPoolExecutor

from lib.images import read_image

THREADS = 4  # decoders; they wait for a disk, or leave the processor to the network where it has fewer cores


class Reader:
    """Reads strips when asked to and keeps them; to be used in a `with` statement, for as many as memory holds.

    Arguments:
        shape: (H, W) that every file must have, or None.
    """

    def __init__(self, shape=None):
        self.shape, self.strips, self.pool = shape, {}, ThreadPoolExecutor(THREADS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pool.shutdown(cancel_futures=True)
        self.strips.clear()  # a strip that could not be read has an error that holds this reader, and with it all the others

    def ask(self, paths, size):
        """Begin to read these strips at `size` (h, w), but for those that are there already."""
        for path in paths:
            if (path, size) not in self.strips:
                self.strips[path, size] = self.pool.submit(read_image, path, size, self.shape)

    def get(self, path, size):
        """A strip, (h, w) uint8, not to be changed in place; UserError as from `read_image`."""
        self.ask([path], size)
        return self.strips[path, size].result()
