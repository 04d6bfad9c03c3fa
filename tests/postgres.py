"""A PostgreSQL cluster of a test's own, run by a user who may run one."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pwd import getpwnam

from tests.ports import free_port


@contextmanager
def cluster(name: str, *, fsync: bool) -> Iterator[int]:
    """The port of a server with a database and a user of that name, who needs no password."""
    binaries = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    folder, port = Path(tempfile.mkdtemp(prefix="recsys-postgres-")), free_port()
    user = "postgres" if os.geteuid() == 0 else None
    if user:
        os.chown(folder, getpwnam(user).pw_uid, getpwnam(user).pw_gid)

    def run(program: str, *arguments: str) -> None:
        command = [str(binaries / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=user, cwd=folder)

    run("initdb", "-D", f"{folder}/data", "-U", name, "--auth=trust", "-E", "UTF8")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync={'on' if fsync else 'off'}"
    run("pg_ctl", "-D", f"{folder}/data", "-w", "-l", f"{folder}/log", "-o", options, "start")
    try:
        run("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", name, name)
        yield port
    finally:
        run("pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "stop")
        shutil.rmtree(folder)
