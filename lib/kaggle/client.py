"""Kaggle from the command line: fetch the competition's data, pack a run, upload the pack.

    python -m lib.kaggle download
    python -m lib.kaggle pack [RUN] --owner NAME [--gpu] [--training]
    python -m lib.kaggle push [RUN] [--dry-run]

Kaggle's own client does the talking; it is needed for `download` and `push` alone: python -m pip install kaggle. It is run as a
program of its own, so the token stays with it, and what it prints is shown with every known token blotted out.
"""

import contextlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from lib import files, paths
from lib.data import dataset, images, validation
from lib.errors import UserError, print_line
from lib.kaggle import archive, pack
from lib.pipeline import run_state
from lib.pipeline.graph import DEFAULT_PROJECT

EXPECTED = (12568, 5506)  # images of the competition, training and test
LOOKED_AT = 20  # images opened after a download
PROGRESS = r"\d+%\|[^|\r\n]*\|(?: *[\d.]+\w?/[\d.]+\w?(?: *\[[^\]\r\n]*\])?)?"  # a bar, its counts and its times
STATUS = r"(?:^|: )(\d{3}) (?:-|Client Error|Server Error)|^\((\d{3})\)$"  # of an answer of Kaggle's
TROUBLE = (  # what an error's line says: which status that is, "" for none of Kaggle's
    (STATUS, ""),
    (r"No space left on device|Errno 28\b|Disk quota exceeded", "disk"),
    (r"^Authentication required|^Unauthorized\b|Save the token to|^Invalid credentials|Could not find kaggle\.json", "401"),
    (r"^(?:You )?must accept|accept (?:the|this) competition's? rules|^Permission '.*' was denied", "403"),
    (r"Max retries exceeded|NameResolutionError|TimeoutError|ConnectionError|Connection(?:Reset|Refused|Aborted)Error"
     r"|ConnectTimeout|ReadTimeout|ProxyError|SSLError|Network is unreachable|Temporary failure in name resolution"
     r"|IncompleteRead", "network"),
)  # fmt: skip
WORDS = {
    "401": "There is no valid Kaggle token. Make one at https://www.kaggle.com/settings (API), save it as ~/.kaggle/access_token or "
           "~/.kaggle/kaggle.json, and try again.",
    "403": "Kaggle refuses access (403). Check that the token is of the account that --owner names.",
    "404": "Kaggle does not know this name (404). Check --owner and --name.",
    "429": "Kaggle has had too many requests (429). Wait some minutes, then try again.",
    "disk": "The disk is full. Make room, then try again.",
    "network": "Kaggle cannot be reached. Check the network, then try again; what was downloaded so far is kept.",
}  # fmt: skip
RULES = (f"Kaggle refuses access (403). Open https://www.kaggle.com/competitions/{paths.COMPETITION}/rules, accept the rules, and try "
         "again; if they are accepted, check that the token is of that account.")  # fmt: skip
LOOKED_BACK = 12  # lines of an error: an answer of Kaggle's is told in several


class ClientError(UserError):
    """Kaggle's client failed. `status` is what it met: an HTTP status, "disk", "network", or "" where it cannot be told."""

    def __init__(self, message, status):
        super().__init__(message)
        self.status = status


def run_client(arguments, show=True):
    """Run the official client; what it printed. UserError with what to do if it is missing or fails.

    Arguments:
        arguments: the words after `kaggle`; show: print what it prints, progress at once.
    """
    if importlib.util.find_spec("kaggle") is None:
        raise UserError(f"Kaggle's client is not installed. Install it: {Path(sys.executable).name} -m pip install kaggle")
    command = [sys.executable, "-m", "kaggle", *map(str, arguments)]
    client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    printed, segment = [], b""
    while piece := client.stdout.read1(4096):
        *whole, segment = re.split(rb"(?<=[\r\n])", segment + piece)
        for part in whole:
            printed.append(without_tokens(part.decode("utf-8", "replace")))
            if show and "%|" in printed[-1]:
                print(printed[-1], end="", flush=True)
    printed.append(without_tokens(segment.decode("utf-8", "replace")))
    text = "".join(printed)
    if client.wait():
        raise explain(text, arguments)
    if show:
        print("".join(part for part in printed if "%|" not in part).strip(), flush=True)
    return text


def lines_of(text):
    """What the client printed, without its progress, as a list of lines that hold something."""
    lines = re.sub(PROGRESS, "\n", text).replace("\r", "\n").splitlines()
    return [line.strip() for line in lines if line.strip()]


def explain(text, arguments=()):
    """The ClientError for what the client printed as it failed, with what to do in a sentence or two.

    Its last lines are asked, the last one first: what stands before them is progress and warnings. Of a traceback that is the error
    alone.
    """
    lines = lines_of(text)
    said = lines[-1][:300] if lines else "it said nothing"
    starts = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    errors = lines[max([*starts[-1:], len(lines) - LOOKED_BACK, 0]) :]
    if starts:
        errors = [line for line in errors if re.match(r"[\w.]*(?:Error|Exception|Timeout|Interrupt|Exit)\b", line)] or errors[-1:]
    for line in reversed(errors):
        for pattern, status in TROUBLE:
            found = re.search(pattern, line)
            if found:
                status = status or next(group for group in found.groups() if group)
                words = RULES if status == "403" and "competitions" in arguments else WORDS.get(status)
                return ClientError(words or f"Kaggle answered with an error ({said}). Try again later.", status)
    return ClientError(f"Kaggle's client failed: {said}. Try the command of UPLOAD.md by hand.", "")


def tokens():
    """Every secret that Kaggle's client would find: from the environment and from its folder."""
    found = {os.environ.get(name, "") for name in ("KAGGLE_KEY", "KAGGLE_API_TOKEN")}
    folders = [os.environ.get("KAGGLE_CONFIG_DIR", "")]
    with contextlib.suppress(RuntimeError):  # a user whom the system does not know has no home
        folders += [Path.home() / ".kaggle", Path.home() / ".config" / "kaggle"]
    for folder in folders:
        for name in ("kaggle.json", "access_token", "access_token.txt", "credentials.json") if folder else ():
            try:
                text = (Path(folder) / name).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue
            found |= texts_in(text, name.endswith(".json"))
    return {token.strip() for token in found if len(token.strip()) >= 6}


def texts_in(text, is_json):
    """A file's text, or, of JSON, every text in it but the user's name."""
    if not is_json:
        return {text}
    try:
        content = json.loads(text)
    except ValueError:
        return {text}
    return {str(value) for key, value in content.items() if key != "username"} if isinstance(content, dict) else {text}


def without_tokens(text):
    """A text with every known token blotted out."""
    for token in sorted(tokens(), key=len, reverse=True):
        text = text.replace(token, "***")
    return text


def download(data_dir="", expected=EXPECTED):
    """Fetch the competition's data into `data_dir` (empty: data/ in the project), check and unpack them; the folder.

    An archive that is there already is taken up by the client, and stays. Raises UserError that says what to do.
    """
    target = paths.given(data_dir, "--data") if data_dir else paths.PROJECT / "data" / paths.COMPETITION
    if paths.holds_data(target):
        print_line(f"{target} holds data already: they are checked, nothing is fetched.")
        print_line(check_arrival(target, expected))
        return target
    if target.exists() and any(target.iterdir()):
        raise UserError(f"{target} is not empty and holds no competition data. Name another folder with --data.")
    packed = target.parent / f"{paths.COMPETITION}.zip"
    theirs = packed.exists()
    target.parent.mkdir(parents=True, exist_ok=True)
    run_client(["competitions", "download", "-c", paths.COMPETITION, "-p", target.parent])
    if not packed.is_file():
        raise UserError(f"The client left no {packed}. Try again, or download by hand and unpack it to {target}.")
    print_line(f"unpack   {packed}")
    with files.scratch(target) as partial:
        archive.unpack(packed, partial)
        said = check_arrival(partial, expected)
        if not files.put(partial, target):
            raise UserError(f"{target} was made by somebody else meanwhile. Look at it, then try again.")
    if theirs:
        print_line(f"{packed} was there before and stays. It is not needed any more.")
    else:
        packed.unlink()
    print_line(f"{said} They are in {target}.")
    return target


def check_arrival(folder, expected=EXPECTED):
    """Whether downloaded data are what they should be: counts, schema of train.csv, images of the right size that open.

    Returns a sentence. Raises UserError that names what is missing or broken.
    """
    folder = Path(folder)
    rows, shape = validation.read_rows(folder / "train.csv"), tuple(dataset.describe(folder)[key] for key in ("height", "width"))
    counts = []
    for part, least in zip(("train_images", "test_images"), expected, strict=True):
        names = images.list_images(folder / part)
        if len(names) < least:
            raise UserError(f"{folder / part} holds {len(names):,} images, and {least:,} are expected. Fetch the data again.")
        for name in names[:: max(len(names) // LOOKED_AT, 1)]:
            images.read_image(folder / part / name, expected=shape)
        counts.append(len(names))
    missing = set(rows["image_id"]) - set(images.list_images(folder / "train_images"))
    if missing:
        raise UserError(f"{folder / 'train_images'} has no {min(missing)}, which train.csv names. Fetch the data again.")
    return f"{counts[0]:,} training and {counts[1]:,} test images, {len(rows):,} rows in train.csv: as they should be."


def push(run_dir, dry_run=False, wait=600, pause=10):
    """Upload the pack of a run: its data set, then, when Kaggle has unpacked that, its notebook.

    Arguments:
        dry_run: only print the commands; wait, pause: seconds at most, and between two questions, until the data set is ready.

    Raises UserError if the pack was changed, is older than lib, has no owner, or the client fails.
    """
    folder = Path(run_dir) / "kaggle"
    owner = pack.check(folder)
    if owner == pack.OWNER:
        raise UserError(f"{folder} has no owner yet. Pack it again with your account's name: python -m lib.kaggle pack --owner NAME")
    name = files.read_json(folder / "dataset" / "dataset-metadata.json")["id"]
    create = ["datasets", "create", "-p", folder / "dataset", "-r", "zip"]
    version = ["datasets", "version", "-p", folder / "dataset", "-r", "zip", "-m", Path(run_dir).resolve().name]
    kernel = ["kernels", "push", "-p", folder / "notebook"]
    if dry_run:
        for words, when in ((create, "if there is no such data set yet"), (version, "otherwise"), (kernel, "")):
            print_line(f"kaggle {' '.join(map(str, words))}" + (f"   # {when}" if when else ""))
        return
    run_client(version if is_there(name) else create)
    until = time.monotonic() + wait
    while lines_of(run_client(["datasets", "status", name], show=False))[-1:] != ["ready"]:
        if time.monotonic() > until:
            raise UserError(f"Kaggle has not unpacked {name} yet. Later: python -m kaggle kernels push -p {folder / 'notebook'}")
        time.sleep(pause)
    run_client(kernel)


def is_there(name):
    """Whether a data set exists on Kaggle already. UserError if Kaggle cannot be asked."""
    try:
        run_client(["datasets", "status", name], show=False)
    except ClientError as error:
        if error.status in ("404", "403"):  # Kaggle says 403 of private and of missing ones alike
            return False
        raise
    return True


def run_folder(name):
    """The folder of a run: a name in runs/, a path, or, empty, the newest run."""
    if not name:
        return run_state.latest_run(DEFAULT_PROJECT.runs)
    for folder in (DEFAULT_PROJECT.runs / name, paths.given(name, "RUN")):
        if folder.is_dir():
            return folder.resolve()
    raise UserError(f"There is no run {name} in {DEFAULT_PROJECT.runs}. Name one of its folders.")
