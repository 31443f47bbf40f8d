"""What all tests share."""

import os
import re
import signal

import pytest
import whole_run
from hypothesis import settings

# A deadline in milliseconds is a test of the machine's load, not of the code.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # as in a run's kernels

# Where the tests run in the background of a script, Ctrl-C is ignored, and so it would be by the commands
# that they stop with it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Half of all minutes. They begin first, so that no core waits at the end while another goes through the last
# of them.
LONGEST = (
    "windows",
    "backbones",
    "kaggle",
    "documented",
    "notebooks",
    "members",
    "pipeline",
    "split_check",
    "small_data",
    "cluster_runs",
    "cluster_prediction",
    "networks",
    "faults",
    "resume",
    "pretrained",
)


def pytest_collection_modifyitems(items):
    """Order the files; `pytest -n 2 --dist loadfile --no-loadscope-reorder` hands them out so, a file to a
    core."""
    place = {f"test_{name}.py": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """With ALLOWED_SKIPS, a regular expression, a skip for any other reason is a failure: what CI promises to
    try is tried."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and "ALLOWED_SKIPS" in os.environ:
        reason = report.longrepr[2]
        if not re.search(os.environ["ALLOWED_SKIPS"], reason):
            report.outcome, report.longrepr = "failed", f"{reason}. This may not be skipped here (.ci/run)."
    return report


@pytest.fixture(scope="session")
def whole_project(tmp_path_factory):
    """A copy of the project with a small run of every notebook, runs/ID; for reading alone."""
    return whole_run.of_session(tmp_path_factory.getbasetemp())
