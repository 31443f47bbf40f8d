"""What a user can do about what a library only names: a sentence for an error that comes from the machine, not from the code."""

import re

MEMORY = "The memory is full: use fewer --jobs, a smaller batch_size, or close other programs, then go on with --resume."
FILES = "Too many files are open at once: allow more, such as `ulimit -n 4096`, or use fewer --jobs, then go on with --resume."
LARGE = "A file grew larger than is allowed here: raise the limit (`ulimit -f unlimited`), or use another disk, then go on with --resume."
REMEDIES = {
    r"File too large|Errno 27\b": LARGE,
    r"Too many open files|Errno 24\b|Errno 23\b|Too many open files in system": FILES,
    r"ResourceExhausted|OOM when allocating|CUDA_ERROR_OUT_OF_MEMORY|CUDA out of memory|Failed to allocate .*GPU":
        "The graphics card's memory is full: use a smaller batch_size or --jobs 1, then go on with --resume.",
    r"MemoryError|Cannot allocate memory|Unable to allocate|bad_alloc|Errno 12\b|Insufficient memory": MEMORY,
    r"No usable temporary directory":
        "No folder for temporary files can be written: make room there, or name another in TMPDIR, then go on with --resume.",
    r"No space left on device|Disk quota exceeded|Errno 28\b|Errno 122\b": "The disk is full: make room, then go on with --resume.",
    r"can't start new thread|Resource temporarily unavailable|Errno 11\b":
        "Too many processes run at once: use fewer --jobs, or allow more (`ulimit -u`), then go on with --resume.",
    r"Read-only file system|Permission denied|Errno 30\b|Errno 13\b":
        "A folder cannot be written: make it writable, then go on with --resume.",
    r"Input/output error|Stale file handle|Errno 5\b": "The disk or the network drive fails: go on with --resume, or use another one.",
    r"Kernel didn't respond|before replying to kernel_info|Timeout waiting for":
        "The notebook's Python did not answer in time: the machine is busy, or something holds up its local connections. Use fewer "
        "--jobs, then go on with --resume.",
    r"ModuleNotFoundError|No module named|cannot open shared object file":
        "A package is missing: python -m pip install -r requirements.txt, with the Python that runs this.",
}  # fmt: skip


def with_remedy(text):
    """An error's text, with a sentence on what can be done about it where that is known; "" stays as it is."""
    found = next((remedy for pattern, remedy in REMEDIES.items() if re.search(pattern, text)), "")
    return text if not found or found in text else f"{text.rstrip(' .')}. {found}"


def process_end(code, last):
    """How a notebook's process ended that gave no answer: its exit code, negative for a signal, and the last that it said."""
    if code in (-9, 137):
        return f"Its process was killed, with code {code}. {MEMORY}"
    if code in (-25, 153):  # SIGXFSZ
        return f"Its process was killed, with code {code}. {LARGE}"
    return with_remedy(f"Its process ended with code {code}: {last}")
