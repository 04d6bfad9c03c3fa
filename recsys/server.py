"""The MLflow server's address: reach it within seconds, keep it quiet, and say in one line why it failed.

No MLflow is imported here; the two doors that do (`recsys.tracking`, `recsys.registry`) stand on this module.
"""

import logging
import os
import socket
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from recsys.errors import RecsysError, StorageError, TrackingError
from recsys.room import says_full
from recsys.settings import Settings
from recsys.storage import locked

SECONDS = 10.0
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_PRINT_MODEL_URLS_ON_CREATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
}


def prepare(settings: Settings) -> None:
    """Make MLflow ready to be imported and called: quiet, with state inside the home folder, the server reachable.

    Raises:
        TrackingError: the server does not answer within seconds, or its file is damaged.
        StorageError: the home folder can't be made.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db").setLevel(logging.CRITICAL)  # traces of what `explain` tells in one line
    settings.home.mkdir(parents=True, exist_ok=True)
    if not remote(settings):
        # MLflow's own default for experiment 0 is ./mlruns of whoever came first.
        os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = settings.artifacts.as_uri()
        settings.artifacts.mkdir(parents=True, exist_ok=True)
    reach(settings.tracking_uri)
    if (file := database_file(settings)) is not None:
        check_database(file)


def remote(settings: Settings) -> bool:
    """True where a tracking server answers over HTTP and keeps the artefacts itself."""
    return urlsplit(settings.tracking_uri).scheme in ("http", "https")


def reach(address: str) -> None:
    """Knock at a server or database; one in a file or behind a local socket needs no knocking.

    Raises:
        TrackingError: nobody answers within SECONDS.
    """
    parts = urlsplit(address)
    database = parts.scheme.split("+")[0]
    try:
        if parts.scheme in ("http", "https"):
            knock(address)
        elif database in PORTS and parts.hostname:
            socket.create_connection((parts.hostname, parts.port or PORTS[database]), timeout=SECONDS).close()
    except (OSError, ValueError) as error:
        raise unreachable(address, reason=str(getattr(error, "reason", error))) from error


def knock(address: str) -> None:
    """Ask a tracking server for its health; any answer below 500 is one (a gateway may want a password)."""
    try:
        urlopen(f"{address.rstrip('/')}/health", timeout=SECONDS).close()  # noqa: S310 - the scheme is http or https
    except HTTPError as error:
        if error.code >= 500:
            raise URLError(f"HTTP {error.code}") from error


def database_file(settings: Settings) -> Path | None:
    """The SQLite file that is asked; None where a server is."""
    path = settings.tracking_uri.removeprefix("sqlite:///").partition("?")[0]
    return Path(path) if path and path != settings.tracking_uri else None


def check_database(file: Path) -> None:
    """Read a SQLite file's list of tables; MLflow itself would try for a minute and then raise what nobody reads.

    Raises:
        TrackingError: the file is torn, or no database at all.
    """
    if not file.is_file():
        return
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as database:
            database.execute("SELECT name FROM sqlite_master").fetchall()
    except sqlite3.Error as error:
        if error.sqlite_errorcode not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return
        raise TrackingError(
            f"{file} is damaged ({error})",
            expected="MLflow's SQLite database",
            action="bring it back from a backup, or move it away to begin with an empty registry",
        ) from error


@contextmanager
def first_use(settings: Settings) -> Iterator[None]:
    """Let one process at a time make the tables of a fresh database.

    A file whose maker was killed before the last table stood holds nothing yet, and MLflow can't go on with it: it is
    made anew.
    """
    if remote(settings):
        yield
        return
    with locked(settings.locks / "mlflow-schema.lock", seconds=300):
        file, unfinished = database_file(settings), settings.locks / "mlflow-schema.unfinished"
        if file is not None and unfinished.exists():
            file.unlink(missing_ok=True)
        if file is not None and not file.exists():
            unfinished.touch()
        yield
        unfinished.unlink(missing_ok=True)


@contextmanager
def speaking(settings: Settings, *, step: str, failures: type[Exception]) -> Iterator[None]:
    """Turn a failing call into one line.

    Args:
        settings: whose server is asked.
        step: what was being done, as in "could not STEP".
        failures: MLflow's own error.

    Raises:
        StorageError: the disk is full.
        TrackingError: everything else that the server or the way to it did wrong.
    """
    from sqlalchemy.exc import SQLAlchemyError  # while it makes its tables, MLflow lets the database's own errors pass

    try:
        with warnings.catch_warnings():
            # MLflow warns of its own imports and of defaults that nobody here can change.
            warnings.simplefilter("ignore")
            yield
    except (failures, SQLAlchemyError, OSError) as error:
        raise explain(error, settings=settings, step=step) from error


def explain(error: Exception, *, settings: Settings, step: str) -> RecsysError:
    """The failure as one of ours."""
    text = " ".join(str(error).split())
    if says_full(error):
        return StorageError(
            f"could not {step}: the disk is full", expected="room to write", action="free space and run it again"
        )
    if any(sign in text for sign in ("Max retries exceeded", "could not connect", "Connection refused")):
        return unreachable(settings.tracking_uri, reason="the connection broke")
    return TrackingError(
        f"could not {step}: {text[:300]}",
        expected=f"the MLflow server at {shown(settings.tracking_uri)} to accept it",
        action="see the server's log",
    )


def unreachable(address: str, *, reason: str) -> TrackingError:
    """The error for a server that does not answer."""
    return TrackingError(
        f"no MLflow server answers at {shown(address)} ({' '.join(reason.split())[:120]})",
        expected="one that is up",
        action="start it (see mlflow/README.md) or unset MLFLOW_TRACKING_URI to use the file in RECSYS_HOME",
    )


def stored_name(metric: str) -> str:
    """A metric's name as MLflow takes it: "@" is refused there, so ndcg@10 is stored as ndcg_at_10."""
    return metric.replace("@", "_at_")


def metric_name(stored: str) -> str:
    """The metric's name behind MLflow's."""
    return stored.replace("_at_", "@")


def shown(address: str) -> str:
    """The address without its password."""
    parts = urlsplit(address)
    return address.replace(f":{parts.password}@", ":***@") if parts.password else address
