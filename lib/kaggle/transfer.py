"""Between Kaggle and this machine: the competition's data down, a pack up."""

import time
from pathlib import Path

from lib import files, paths
from lib.data import dataset, images, validation
from lib.errors import UserError, print_line
from lib.kaggle import archive, pack
from lib.kaggle.client import ClientError, lines_of, run_client
from lib.pipeline.graph import DEFAULT_PROJECT
from lib.pipeline.run_folder import latest_run

EXPECTED = (12568, 5506)  # images of the competition, training and test
LOOKED_AT = 20  # images opened after a download
AGAIN = "Fetch the data again."


def download(data_dir: str | Path = "", expected: tuple[int, int] = EXPECTED) -> Path:
    """Fetch the competition's data, check and unpack them; the folder.

    An archive that is there already is taken up by the client, and stays. Raises UserError that says what to
    do.

    Arguments:
        data_dir: where to; empty: data/ in the project; expected: least numbers of training and test images.
    """
    target = (
        paths.resolve_path(data_dir, "--data") if data_dir else paths.PROJECT / "data" / paths.COMPETITION
    )
    if paths.holds_data(target):
        print_line(f"{target} holds data already: they are checked, nothing is fetched.")
        print_line(check_arrival(target, expected))
        return target
    if target.exists() and any(target.iterdir()):
        raise UserError(f"{target} is not empty and holds no competition data. Name another with --data.")
    packed = target.parent / f"{paths.COMPETITION}.zip"
    was_there = packed.exists()
    target.parent.mkdir(parents=True, exist_ok=True)
    run_client(["competitions", "download", "-c", paths.COMPETITION, "-p", target.parent])
    if not packed.is_file():
        remedy = f"Try again, or download by hand and unpack it to {target}"
        raise UserError(f"The client left no {packed}. {remedy}.")
    print_line(f"unpack   {packed}")
    with files.scratch(target) as partial:
        archive.unpack(packed, partial)
        summary = check_arrival(partial, expected)
        if not files.put(partial, target):
            raise UserError(f"{target} was made by somebody else meanwhile. Look at it, then try again.")
    if was_there:
        print_line(f"{packed} was there before and stays. It is not needed any more.")
    else:
        packed.unlink()
    print_line(f"{summary} They are in {target}.")
    return target


def check_arrival(folder: str | Path, expected: tuple[int, int] = EXPECTED) -> str:
    """Whether data are what they should be: counts, schema of train.csv, images of the right size that open.

    Returns a sentence. Raises UserError that names what is missing or broken.
    """
    folder = Path(folder)
    rows = validation.read_rows(folder / "train.csv")
    about = dataset.describe(folder)
    shape = about["height"], about["width"]
    counts = []
    for part, least in zip(("train_images", "test_images"), expected, strict=True):
        names = images.list_images(folder / part)
        if len(names) < least:
            counted = f"holds {len(names):,} images, and {least:,} are expected"
            raise UserError(f"{folder / part} {counted}. {AGAIN}")
        for name in names[:: max(len(names) // LOOKED_AT, 1)]:
            images.read_image(folder / part / name, expected=shape)
        counts.append(len(names))
    missing = set(rows["image_id"]) - set(images.list_images(folder / "train_images"))
    if missing:
        raise UserError(f"{folder / 'train_images'} has no {min(missing)}, which train.csv names. {AGAIN}")
    total = f"{counts[0]:,} training and {counts[1]:,} test images, {len(rows):,} rows in train.csv"
    return f"{total}: as they should be."


def push(run_dir: Path, dry_run: bool = False, wait: float = 600, pause: float = 10) -> None:
    """Upload the pack of a run: its data set, then, when Kaggle has unpacked that, its notebook.

    Arguments:
        dry_run: only print the commands;
        wait, pause: seconds at most, and between two questions, until the data set is ready.

    Raises UserError if the pack was changed, is older than lib, has no owner, or the client fails.
    """
    folder = run_dir / "kaggle"
    owner = pack.check(folder)
    if owner == pack.OWNER:
        command = "python -m lib.kaggle pack --owner NAME"
        raise UserError(f"{folder} has no owner yet. Pack it again with your account's name: {command}")
    name = files.read_json(folder / "dataset" / "dataset-metadata.json")["id"]
    data_set = ["-p", str(folder / "dataset"), "-r", "zip"]
    create = ["datasets", "create", *data_set]
    version = ["datasets", "version", *data_set, "-m", run_dir.resolve().name]
    kernel = ["kernels", "push", "-p", str(folder / "notebook")]
    if dry_run:
        print_line(f"kaggle {' '.join(create)}   # if there is no such data set yet")
        print_line(f"kaggle {' '.join(version)}   # otherwise")
        print_line(f"kaggle {' '.join(kernel)}")
        return
    run_client(version if is_there(name) else create)
    end = time.monotonic() + wait
    while lines_of(run_client(["datasets", "status", name], show=False))[-1:] != ["ready"]:
        if time.monotonic() > end:
            command = f"python -m kaggle kernels push -p {folder / 'notebook'}"
            raise UserError(f"Kaggle has not unpacked {name} yet. Later: {command}")
        time.sleep(pause)
    run_client(kernel)


def is_there(name: str) -> bool:
    """Whether a data set exists on Kaggle already. UserError if Kaggle cannot be asked."""
    try:
        run_client(["datasets", "status", name], show=False)
    except ClientError as error:
        if error.status in ("404", "403"):  # Kaggle says 403 of private and of missing ones alike
            return False
        raise
    return True


def run_folder(name: str) -> Path:
    """The folder of a run: a name in runs/, a path, or, empty, the newest run."""
    if not name:
        return latest_run(DEFAULT_PROJECT.runs)
    for folder in (DEFAULT_PROJECT.runs / name, paths.resolve_path(name, "RUN")):
        if folder.is_dir():
            return folder.resolve()
    raise UserError(f"There is no run {name} in {DEFAULT_PROJECT.runs}. Name one of its folders.")
