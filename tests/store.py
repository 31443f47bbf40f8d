"""A real server of the S3 protocol on this machine's loopback, for tests; skipped where its packages are missing."""

import os
import urllib.request
from contextlib import contextmanager

import pytest

BUCKET = "s3://mill"


@contextmanager
def served():
    """A context in which s3://mill is there, in this process and in all that it starts."""
    pytest.importorskip("s3fs", reason="s3fs is not installed (requirements-storage.txt)")
    server = pytest.importorskip("moto.server", reason="moto is not installed (requirements-test.txt)")
    import logging

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    address = f"http://{host}:{port}"
    # What a server of this process held before is still there.
    urllib.request.urlopen(urllib.request.Request(f"{address}/moto-api/reset", method="POST")).close()
    settings = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("mill")
        yield BUCKET
    finally:
        running.stop()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def upload(folder, address):
    """Put every file below a folder to an address."""
    from lib.data import storage

    directory = storage.directory(address)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            directory.write(path.relative_to(folder).as_posix(), path.read_bytes())


def contents(address):
    """{name: bytes} of all files below an address but the measured seconds."""
    from lib.data import storage

    directory = storage.directory(address)
    return directory.read(sorted(name for name in directory.names() if not name.endswith("seconds.csv")))
