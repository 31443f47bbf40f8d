"""One notebook in a process of its own: execute it, look for errors in it, render its report. Called by
`executor`, knows papermill.

    python -m lib.pipeline.worker < request.json

The request is one line of JSON: {"notebook", "output", "report", "parameters", "folder", "member"}, see
`executor.request_of`. The answer, one line on standard output: {"ok": true or false, "error": one sentence}.
When standard input closes early, the command is gone, and the kernel is stopped with everything it started.
"""

import contextlib
import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lib import files
from lib.errors import FILES, MEMORY, shorten, with_remedy
from lib.models import members
from lib.pipeline import processes

# jsonschema, behind papermill and nbconvert, builds a grammar for web addresses at its import if it finds
# this package:
# two seconds a process for a check that no notebook needs.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
# open at once that a notebook's process and kernel need: with fewer the kernel does not start, and does not
# say why
FEWEST_FILES = 80
ERROR_TAG = "papermill-error-cell-tag"
kernels: set[int] = set()  # process numbers of kernels, each the leader of a group of its own


def main() -> None:
    """Read the request, run it, answer."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not be read as the answer
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=stop_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stop_now(143))
    with own_settings():
        error = run(request) if processes.allow_files() >= FEWEST_FILES else FILES
        stop_kernels()
    answer.write(json.dumps({"ok": not error, "error": shorten(error)}) + "\n")
    answer.flush()
    os._exit(0)  # the thread that watches standard input would hold up a plain return


@contextlib.contextmanager
def own_settings() -> Iterator[None]:
    """A context in which Jupyter and IPython read nothing of the user's: no startup files, no configuration;
    and in which there is a home folder, also for a user whom the system does not know."""
    with tempfile.TemporaryDirectory(prefix="notebook-", ignore_cleanup_errors=True) as folder:
        for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
            os.environ[variable] = str(Path(folder) / variable.lower())
        os.environ["JUPYTER_NO_CONFIG"] = "1"
        try:
            Path.home()
        except RuntimeError:
            os.environ["HOME"] = folder
        # Libraries ask for it, where the system has no name for the user's number.
        os.environ.setdefault("USER", "user")
        yield


def kernel_manager() -> type:
    """The class of a kernel's manager that starts this very Python, whatever kernel is installed under the
    name python3."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]

    class ThisPython(AsyncKernelManager):
        kernel_spec = KernelSpec(argv=command, display_name="Python 3", language="python")

    return ThisPython


def run(request: dict[str, Any]) -> str:
    """Execute and render a notebook; the error in one sentence, or ""."""
    output, report_path = Path(request["output"]), Path(request["report"])
    partial = output.with_name(f".{output.stem}.partial.ipynb")
    error = execute(request, partial)
    try:
        if partial.exists():
            if error:
                mark_error(partial, error)
            files.moving(os.replace, partial, output)
            from lib.report import pages

            pages.render(output, report_path)
        elif not error:
            error = "The executed notebook was not written."
    except Exception as problem:  # a report that fails must not hide how the notebook ended
        error = error or with_remedy(f"The report could not be made: {type(problem).__name__}: {problem}")
    return error


def execute(request: dict[str, Any], partial: Path) -> str:
    """Execute the notebook into `partial`; the error in one sentence, or ""."""
    import nbformat
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from papermill.execute import execute_notebook

    member = request.get("member", 0)
    os.environ[members.VARIABLE] = str(member) if member else ""

    def run_cells():
        return execute_notebook(
            cells_of_member(Path(request["notebook"]), member) if member else escape(request["notebook"]),
            escape(partial),
            parameters=request["parameters"],
            cwd=request["folder"],
            progress_bar=False,
            log_output=False,
            coalesce_streams=True,
            start_timeout=120,
            iopub_timeout=60,
            on_cell_start=note_kernels,
            kernel_manager_class=kernel_manager(),
        )

    try:
        try:
            executed = run_cells()
        except RuntimeError as error:
            if kernels or "before replying" not in str(error):
                raise
            # Two kernels that start at once can pick the same port, and one dies before its first cell.
            executed = run_cells()
    except PapermillExecutionError:
        executed = nbformat.read(partial, as_version=4)
    except DeadKernelError:
        return f"The kernel died{running_cell(partial)}: killed, or out of memory. {MEMORY}"
    except CellTimeoutError as error:
        return f"A cell took too long{running_cell(partial)}: {str(error).splitlines()[0]}"
    except Exception as error:  # whatever papermill meets is told as this notebook's error
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        return with_remedy(f"{type(error).__name__}{running_cell(partial)}: {reason}")
    return error_in(executed)


def cells_of_member(notebook: Path, member: int) -> Any:
    """A notebook as far as it trains a member of its ensemble, counted from 1, with a line that says so."""
    import nbformat

    content = nbformat.read(notebook, as_version=4)
    tags = [cell.metadata.get("tags", []) for cell in content.cells]
    last = next(index for index, of_cell in enumerate(tags) if members.LAST_CELL in of_cell)
    note = nbformat.v4.new_markdown_cell(
        f"*Member {member} of the ensemble, trained alone. [{notebook.stem}]({notebook.stem}.html) begins with the "
        "same cells, gathers all members and evaluates them.*"
    )
    content.cells = [content.cells[0], note, *content.cells[1 : last + 1]]
    return content


def prepare(notebook: Path, output: Path, parameters: dict[str, Any]) -> None:
    """Write a notebook with parameters set and nothing executed."""
    import nbformat
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    prepared = parameterize_notebook(load_notebook_node(str(notebook)), parameters)
    for cell in [prepared, *prepared.cells]:
        cell.metadata.pop("papermill", None)
    files.write_atomic(output, nbformat.writes(prepared))


def escape(path: str | Path) -> str:
    """A path as papermill takes it: it runs every path through str.format."""
    return str(path).replace("{", "{{").replace("}", "}}")


def error_in(notebook: Any) -> str:
    """Whether every code cell ran to its end: the error in one sentence, or "". papermill's own metadata does
    not show it."""
    count = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        count += 1
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                return describe(output, count)
        if cell.source.strip() and cell.get("execution_count") is None:
            return f"Code cell {count} was not run."
    return ""


def describe(output: Any, cell: int) -> str:
    """An error output in one sentence. A user's mistake has no traceback and needs neither type nor cell."""
    reason = " ".join(output.evalue.split()) if output.evalue else ""
    if output.ename == "SystemExit":
        return f"Code cell {cell} left the notebook early (SystemExit {reason})."
    if output.ename == "UserError" or len(output.traceback) == 1:
        return reason
    return with_remedy(
        f"{output.ename}: {reason} (code cell {cell})" if reason else f"{output.ename} in code cell {cell}"
    )


def running_cell(partial: Path) -> str:
    """ " in code cell N" for the cell that was running when the notebook was last saved, or ""."""
    try:
        cells = json.loads(partial.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError):
        return ""
    marks = [cell["metadata"].get("papermill", {}) for cell in cells if cell["cell_type"] == "code"]
    # The cell that brought the kernel down is marked completed, like every later one, but later ones never
    # started.
    reached = sum(bool(mark.get("start_time") and mark.get("status")) for mark in marks)
    return f" in code cell {reached}" if reached else ""


def mark_error(path: Path, error: str) -> None:
    """Make sure that a failed notebook shows it at its top, also where papermill saw no error."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["failed"] = shorten(error)
    if not any(ERROR_TAG in cell.metadata.get("tags", []) for cell in notebook.cells):
        note = nbformat.v4.new_markdown_cell("**This notebook stopped before its end.**")
        note.metadata["tags"] = [ERROR_TAG]
        notebook.cells.insert(0, note)
    nbformat.write(notebook, path)


def note_kernels(**_: Any) -> None:
    """Remember the kernel's process number, so that what it started can be stopped even if it is gone by
    then."""
    import psutil

    kernels.update(child.pid for child in psutil.Process().children())


def stop_kernels() -> None:
    """Kill what this process started, and the process group of every kernel."""
    import psutil

    for process in psutil.Process().children(recursive=True):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    for pid in kernels:
        processes.end_group(pid)


def stop_now(status: int) -> None:
    """End at once, with the kernel."""
    stop_kernels()
    os._exit(status)


def stop_with_parent() -> None:
    """Wait until standard input ends, which it does when the command ends in whatever way."""
    while sys.stdin.readline():
        pass
    stop_now(1)


if __name__ == "__main__":
    main()
