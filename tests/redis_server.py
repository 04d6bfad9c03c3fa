"""A Redis server of our own on a free loopback port, in memory alone."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def redis_server(folder: Path, *, port: int | None = None) -> Iterator[str]:
    """Its address; the server ends with the block."""
    program = shutil.which("redis-server")
    assert program is not None, "redis-server is not installed; these tests need it"
    number = port or free_port()
    running = subprocess.Popen(
        [
            program,
            "--port",
            str(number),
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(folder),
            "--bind",
            "127.0.0.1",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert running.stdout is not None
        for line in running.stdout:
            if "Ready to accept connections" in line:
                break
        yield f"redis://127.0.0.1:{number}/0"
    finally:
        running.terminate()
        running.communicate()
