"""Weights that a network begins with: from a file, downloaded, or none; and what may go wrong with each."""

import contextlib
import http.client
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path

import keras

from lib import paths
from lib.errors import UserError

NETWORK = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
)  # what a download that fails raises


def _weights_file(weights: str) -> Path | None:
    """The path of a weights file, counted from the project; None for "none" and "imagenet"."""
    if weights in ("none", "imagenet"):
        return None
    file = paths.from_project(weights, "The weights file")
    if not file.is_file():
        raise UserError(f"The weights file {file} does not exist. Give a .h5 file, 'imagenet' or 'none'.")
    return file


@contextlib.contextmanager
def _fitting(file: Path | None, weights: str) -> Iterator[None]:
    """A context in which a weights file is read (None: there is none): a UserError that names it where it is
    of another network."""
    try:
        yield
    except (ValueError, OSError, KeyError) as error:
        if file is None:
            raise
        raise UserError(
            f"The weights file {weights} does not fit the network ({(str(error).splitlines() or ['-'])[0]})."
        ) from None


def _insist_on_no_weights(weights: str) -> None:
    if weights != "none":
        raise UserError(
            f"The compact backbone has no published weights, and weights is {weights!r}. Set it to 'none', or take another."
        )


def _published(make: Callable[[], keras.Model]) -> keras.Model:
    """Call `make`, which downloads weights at first use; say what to do where the network fails.

    Keras raises a bare Exception: what went wrong is told by the error that it was raised in answer to.
    """
    try:
        return make()
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, NETWORK):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        raise UserError(
            f"The ImageNet weights cannot be downloaded (no network? {type(cause).__name__}: {cause}). Set weights to "
            "'none', or to the path "
            "of a weights file."
        ) from None
