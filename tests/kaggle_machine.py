"""Kaggle's machine as closely as it can be rebuilt: its folders, read-only inputs, no network; for the tests.

Everything happens in name spaces of its own (Linux, `unshare`): a root folder in memory that shows the
machine's own folders and beside them /kaggle, whose inputs cannot be written, in a network that has only
itself.
"""

import array
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

UNSHARE = ("unshare", "--user", "--map-root-user", "--mount", "--net")
KEPT = (
    "PATH",
    "LANG",
    "PYTHONPATH",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "OMP_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)

START = """%reset -f
import os, sys
if os.path.islink("/kaggle"):
    os.remove("/kaggle")
os.symlink("/sessions/NUMBER", "/kaggle")
os.chdir("/kaggle/working")
sys.path[:] = [path for path in sys.path if not path.startswith("/kaggle")]
sys.path_importer_cache.clear()
for name in [name for name in sys.modules if name.split(".")[0] == "lib"]:
    del sys.modules[name]"""  # the cell that begins a session: its own folders, and lib imported afresh


def missing():
    """Why the machine cannot be rebuilt here, or ""."""
    if sys.platform != "linux" or not shutil.which("unshare"):
        return "needs Linux and unshare for name spaces"
    tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True)
    return f"no name spaces: {tried.stderr.strip()}" if tried.returncode else ""


def execute(python, notebook, output, sessions, **environment):
    """Execute a notebook once in each session, all in one kernel.

    Arguments:
        python: the interpreter; notebook, output: paths; environment: more variables.
        sessions: [(working folder, {folder below /kaggle/input: folder shown there})].

    Returns what the command printed. The executed cells of all sessions stand in `output` one after the
    other, each session begun by a cell of its own; an error does not stop it.
    """
    job = {
        "notebook": str(notebook),
        "output": str(output),
        "root": str(Path(output).parent / "root"),
        "sessions": [
            (str(work), {name: str(source) for name, source in inputs.items()}) for work, inputs in sessions
        ],
    }
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    kept |= {
        "HOME": str(Path(output).parent),
        "PYTHONHASHSEED": "0",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "IN_KAGGLE": json.dumps(job),
    }
    ran = subprocess.run(
        [*UNSHARE, str(python), __file__], env=kept | environment, capture_output=True, text=True, timeout=900
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def mount(*arguments):
    subprocess.run(["mount", *map(str, arguments)], check=True)


def make_root(root):
    """Show every folder of the machine below `root`, which lies in memory."""
    root.mkdir()
    mount("-t", "tmpfs", "none", root)
    for place in Path("/").iterdir():
        if place.is_symlink():
            (root / place.name).symlink_to(os.readlink(place))
        elif place.is_dir() and place.name != "kaggle":
            (root / place.name).mkdir()
            mount("--rbind", place, root / place.name)


def make_session(folder, work, inputs):
    """The folders of one session: `input`, which cannot be written, and `working`."""
    (folder / "working").mkdir(parents=True)
    mount("--bind", work, folder / "working")
    (folder / "input").mkdir()
    for name, source in inputs.items():
        (folder / "input" / name).mkdir(parents=True)
        mount("--bind", source, folder / "input" / name)
        mount("-o", "remount,bind,ro", folder / "input" / name)


def start_loopback():
    """Switch the network of this name space on: its one device leads back to itself, and kernels talk over
    it."""
    import fcntl  # not on Windows, where this file is imported too

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        request = array.array(
            "B", b"lo".ljust(16, b"\0") + (0x1 | 0x40).to_bytes(2, sys.byteorder) + bytes(22)
        )
        fcntl.ioctl(endpoint, 0x8914, request)  # SIOCSIFFLAGS: up, running


def main():
    """Inside the name spaces: build the machine, enter it, execute."""
    job = json.loads(os.environ.pop("IN_KAGGLE"))
    root = Path(job["root"])
    make_root(root)
    for number, (work, inputs) in enumerate(job["sessions"]):
        make_session(root / "sessions" / str(number), work, inputs)
    start_loopback()
    os.chroot(root)
    os.chdir("/")

    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(job["notebook"], as_version=4)
    every = nbformat.v4.new_notebook(metadata=notebook.metadata)
    for number in range(len(job["sessions"])):
        every.cells.append(
            nbformat.v4.new_code_cell(START.replace("NUMBER", str(number)), metadata={"session": number})
        )
        every.cells += [
            nbformat.v4.new_code_cell(cell.source) for cell in notebook.cells if cell.cell_type == "code"
        ]
    NotebookClient(every, timeout=600, allow_errors=True, resources={"metadata": {"path": "/"}}).execute()
    nbformat.write(every, job["output"])


def results(output):
    """Of every session of an executed notebook: (all it printed, its first error as "Type: text" or "")."""
    found = []
    for cell in json.loads(Path(output).read_text(encoding="utf-8"))["cells"]:
        if "session" in cell["metadata"]:
            found.append(["", ""])
        for part in cell["outputs"]:
            if part["output_type"] == "stream":
                found[-1][0] += "".join(part["text"])
            if part["output_type"] == "error":
                found[-1][1] = found[-1][1] or f"{part['ename']}: {part['evalue']}"
    return found


if __name__ == "__main__":
    main()
