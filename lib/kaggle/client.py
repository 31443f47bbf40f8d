"""Kaggle's own client at work: a program of its own, which keeps the token to itself; what it says in a
sentence."""

import contextlib
import importlib.util
import itertools
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen

from lib import paths
from lib.errors import UserError

# A bar, its counts and its times:
PROGRESS = r"\d+%\|[^|\r\n]*\|(?: *[\d.]+\w?/[\d.]+\w?(?: *\[[^\]\r\n]*\])?)?"
ERROR = r"[\w.]*(?:Error|Exception|Timeout|Interrupt|Exit)\b"  # how the last line of a traceback begins
STATUS = r"(?:^|: )(\d{3}) (?:-|Client Error|Server Error)|^\((\d{3})\)$"  # of an answer of Kaggle's
TROUBLE = (  # what an error's line says: which status that is, "" for none of Kaggle's
    (STATUS, ""),
    (r"No space left on device|Errno 28\b|Disk quota exceeded", "disk"),
    (r"^Authentication required|^Unauthorized\b|Save the token to|^Invalid credentials"
     r"|Could not find kaggle\.json", "401"),
    (r"^(?:You )?must accept|accept (?:the|this) competition's? rules|^Permission '.*' was denied", "403"),
    (r"Max retries exceeded|NameResolutionError|TimeoutError|Connection(?:Reset|Refused|Aborted)?Error"
     r"|ConnectTimeout|ReadTimeout|ProxyError|SSLError|Network is unreachable"
     r"|Temporary failure in name resolution|IncompleteRead", "network"),
)  # fmt: skip
REMEDIES = {
    "401": "There is no valid Kaggle token. Make one at https://www.kaggle.com/settings (API), {store}, and try again.",
    "403": "Kaggle refuses access (403). Check that the token is of the account that --owner names.",
    "404": "Kaggle does not know this name (404). Check --owner and --name.",
    "429": "Kaggle has had too many requests (429). Wait some minutes, then try again.",
    "disk": "The disk is full. Make room, then try again.",
    "network": "Kaggle cannot be reached. Check the network, then try again; what was downloaded so far is kept.",
    "rules": f"Kaggle refuses access (403). Open https://www.kaggle.com/competitions/{paths.COMPETITION}/rules, accept "
             "the rules, and try again; if they are accepted, check that the token is of that account.",
}  # fmt: skip
TOKEN_FILES = ("kaggle.json", "access_token", "access_token.txt", "credentials.json")
LOOKED_BACK = 12  # lines of an error: an answer of Kaggle's fills several


class ClientError(UserError):
    """Kaggle's client failed. `status` is what it met: an HTTP status, "disk", "network", or "" if that is
    not known."""

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message)
        self.status = status


def run_client(arguments: Sequence[str | Path], show: bool = True) -> str:
    """Run the official client; what it printed. UserError with what to do if it is missing or fails.

    Arguments:
        arguments: the words after `kaggle`; show: print what it prints, progress at once.
    """
    if importlib.util.find_spec("kaggle") is None:
        install = f"{Path(sys.executable).name} -m pip install kaggle"
        raise UserError(f"Kaggle's client is not installed. Install it: {install}")
    command = [sys.executable, "-m", "kaggle", *map(str, arguments)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    printed = []
    with Popen(command, stdout=PIPE, stderr=STDOUT, env=environment) as client:
        assert client.stdout is not None  # because it is a pipe
        for part in parts_of(client.stdout.fileno()):
            printed.append(without_tokens(part.decode("utf-8", "replace")))
            if show and "%|" in printed[-1]:
                print(printed[-1], end="", flush=True)
    text = "".join(printed)
    if client.returncode:
        raise explain(text, arguments)
    if show:
        print("".join(part for part in printed if "%|" not in part).strip(), flush=True)
    return text


def parts_of(descriptor: int) -> Iterator[bytes]:
    """What a program prints into a pipe, as it comes: lines and states of a progress bar, each with its
    end."""
    part = b""
    while piece := os.read(descriptor, 4096):
        *whole, part = re.split(rb"(?<=[\r\n])", part + piece)
        yield from whole
    yield part


def lines_of(text: str) -> list[str]:
    """What the client printed, without its progress, as a list of lines that hold something."""
    lines = re.sub(PROGRESS, "\n", text).replace("\r", "\n").splitlines()
    return [line.strip() for line in lines if line.strip()]


def explain(text: str, arguments: Sequence[str | Path] = ()) -> ClientError:
    """The ClientError for what the client printed as it failed, with what to do in a sentence or two.

    Its last lines are asked, the last one first: what stands before them is progress and warnings. Of a
    traceback that is the error alone.
    """
    lines = lines_of(text)
    last = lines[-1][:300] if lines else "it said nothing"
    tracebacks = [index for index, line in enumerate(lines) if line.startswith("Traceback (most recent call")]
    asked = lines[max([*tracebacks[-1:], len(lines) - LOOKED_BACK, 0]) :]
    if tracebacks:
        asked = [line for line in asked if re.match(ERROR, line)] or asked[-1:]
    for line, (pattern, status) in itertools.product(reversed(asked), TROUBLE):
        match = re.search(pattern, line)
        if match:
            status = status or next(group for group in match.groups() if group)
            unknown = f"Kaggle answered with an error ({last}). Try again later."
            return ClientError(remedy_for(status, "competitions" in arguments) or unknown, status)
    return ClientError(f"Kaggle's client failed: {last}. Try the command of UPLOAD.md by hand.", "")


def remedy_for(status: str, of_competition: bool) -> str:
    """What to do about what the client met, in words; "" where that is not known."""
    store = "put it into the environment variable KAGGLE_API_TOKEN"
    if home():
        store = "save it as ~/.kaggle/access_token or ~/.kaggle/kaggle.json"
    key = "rules" if status == "403" and of_competition else status
    return REMEDIES.get(key, "").replace("{store}", store)


def home() -> Path | None:
    """The user's home folder; None where there is none, as for a user whom the system does not know."""
    with contextlib.suppress(RuntimeError, OSError):
        return Path.home() if Path.home().is_dir() else None
    return None


def tokens() -> set[str]:
    """Every secret that Kaggle's client would find: from the environment and from its folder."""
    secrets = {os.environ.get(name, "") for name in ("KAGGLE_KEY", "KAGGLE_API_TOKEN")}
    folders = [Path(name) for name in [os.environ.get("KAGGLE_CONFIG_DIR", "")] if name]
    own = home()
    if own:
        folders += [own / ".kaggle", own / ".config" / "kaggle"]
    for folder, name in itertools.product(folders, TOKEN_FILES):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            secrets |= texts_in((folder / name).read_text(encoding="utf-8"), name.endswith(".json"))
    return {secret.strip() for secret in secrets if len(secret.strip()) >= 6}


def texts_in(text: str, is_json: bool) -> set[str]:
    """A file's text, or, of JSON, every text in it but the user's name."""
    if not is_json:
        return {text}
    try:
        content = json.loads(text)
    except ValueError:
        return {text}
    if not isinstance(content, dict):
        return {text}
    return {str(value) for key, value in content.items() if key != "username"}


def without_tokens(text: str) -> str:
    """A text with every known token blotted out."""
    for token in sorted(tokens(), key=len, reverse=True):
        text = text.replace(token, "***")
    return text
