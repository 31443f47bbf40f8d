"""Data folders and runs of the benchmarks that train: made once, and gone on with by a second call."""

import contextlib
import shutil
import subprocess
import sys

from lib import errors, files, paths
from lib.data import dataset, importing


@contextlib.contextmanager
def new_folder(folder, about):
    """A context with an empty folder to fill, which becomes the data folder `folder`; about: what its
    dataset.json says."""
    draft = folder.with_name(folder.name + ".part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    yield draft
    files.write_json(draft / "dataset.json", about)
    draft.rename(folder)


def write_part(folder, images, csv, table, names):
    """Copy a table's images into folder/images under these names, and write their masks into folder/csv."""
    (folder / images).mkdir()
    for name, path in zip(names, table["path"], strict=True):
        shutil.copyfile(path, folder / images / name)
    texts = table[dataset.rle_columns(table)].to_numpy()
    rows = [
        (name, number, text)
        for name, of_image in zip(names, texts, strict=True)
        for number, text in enumerate(of_image, 1)
        if text
    ]
    dataset.write_table(folder / csv, importing.HEADER, rows)


def segmenters(data):
    """The names of the notebooks that segment the classes of a data folder."""
    return [f"3{number}_seg_class{number}" for number in range(1, dataset.describe(data)["classes"] + 1)]


def run(name, only, profile, data, settings, more=()):
    """Run notebooks, or go on with them; the run's folder. UserError if one failed.

    Arguments:
        only: the notebooks; settings: as -p has them; more: further words of the command line.
    """
    folder = paths.PROJECT / "runs" / name
    words = ["--run", name, "--only", ",".join(only), *more]
    if (folder / "run.json").is_file():
        words += ["--resume"]
    else:
        words += ["--profile", profile, "--data", data, *(word for one in settings for word in ("-p", one))]
    command = [sys.executable, paths.PROJECT / "run_all.py", *words]
    if subprocess.run(command, cwd=paths.PROJECT, check=False).returncode:
        raise errors.UserError(
            f"The run {name} failed. Its index says why; call this again when that is mended."
        )
    return folder
