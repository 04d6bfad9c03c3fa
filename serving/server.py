"""Run the online service until it is told to end."""

import logging
import signal
import socket
import sys

import uvicorn

from feature_store.event_log.door import Door
from feature_store.event_log.opening import open_log
from feature_store.event_log.writer import Writer
from feature_store.forgetting.opening import open_people
from feature_store.online.opening import SERVING_SECONDS, value_store
from feature_store.online.watch import Watch
from feature_store.online_features.follow import Follower
from feature_store.online_features.store import OnlineFeatures
from feature_store.served_log.log import ServedLog
from feature_store.served_log.writer import ServedWriter
from recsys.cli.output import emit_json, emit_line
from recsys.errors import StorageError, UsageError
from recsys.settings import Settings
from serving.app import create_app
from serving.events import EventDesk
from serving.live import LiveIndex
from serving.online import OnlineDesk
from serving.opening import find_shop, open_engine, stored_names
from serving.telemetry import Telemetry
from serving.timing import timed

GRACE_SECONDS = 30
log = logging.getLogger(__name__)


def run_server(
    settings: Settings,
    *,
    shop: str | None,
    host: str,
    port: int,
    interval: float,
    max_batch: int,
    verify: bool,
    machine: bool,
    log_features: float | None = None,
) -> None:
    """Serve a shop's live index; returns when the process was asked to end and open requests are answered.

    Arguments as `recsys serve --help` says.

    Raises:
        IndexMismatchError: the shop has no index that can be loaded.
        UsageError: the address can't be listened on.
    """
    name = find_shop(settings, shop=shop)
    telemetry = Telemetry()
    online = OnlineDesk(Watch())
    desk = open_desk(settings, shop=name, telemetry=telemetry, online=online)
    if log_features != 0:
        online.served = open_served(settings, shop=name, share=log_features, telemetry=telemetry)
    telemetry.online(online)
    live = LiveIndex(
        settings.index(name),
        open_engine=lambda folder: timed(
            open_engine(
                folder, settings=settings, shop=name, verify=verify, events=desk.writer.log, watch=online.histories
            ),
            observe=telemetry.stage,
        ),
    )
    live.refresh()
    engine = live.engine
    with listen(host, port) as listener:
        address = f"http://{host}:{listener.getsockname()[1]}"
        if machine:
            emit_json({"address": address, "index": engine.manifest.digest, "model_version": engine.model_version})
        else:
            emit_line(f"serving {engine.manifest.products} products with {engine.model_version} at {address} (/docs)")
        sys.stdout.flush()
        config = uvicorn.Config(
            create_app(live, telemetry, events=desk, online=online, interval=interval, max_batch=max_batch),
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        for told in (signal.SIGTERM, signal.SIGINT):
            # uvicorn raises the signal again when all is answered; to have been told to end is no failure.
            signal.signal(told, lambda *_: None)
        uvicorn.Server(config).run(sockets=[listener])


def open_desk(settings: Settings, *, shop: str, telemetry: Telemetry, online: OnlineDesk) -> EventDesk:
    """What takes events of a shop; a log that does not answer now is asked again with each request.

    Args:
        settings: where state lives.
        shop: its name.
        telemetry: is told of every commit.
        online: gets the features of the shop, and what lets them follow the events.

    Raises:
        UsageError: the keys that name users are missing, or others than the log's.
    """
    names, people = stored_names(settings, shop=shop, make=True), open_people(settings, shop=shop)
    events = open_log(settings, shop=shop, mask=names.fingerprint if names else "")
    try:
        events.head()
    except StorageError as error:
        log.warning("no events can be taken: %s", error)
    store = value_store(settings, shop=shop, timeout_s=SERVING_SECONDS)
    online.features = OnlineFeatures(store, mask=stored_names(settings, shop=shop))
    online.follower = follower = Follower(online.features, events, observe=telemetry.followed)

    def committed(count: int, seconds: float) -> None:
        telemetry.commit(count, seconds)
        follower.wake()

    writer = Writer(events, observe=committed)
    telemetry.waiting(lambda: writer.events)
    return EventDesk(Door(names, forgotten=people.forgotten), writer, telemetry)


def open_served(
    settings: Settings, *, shop: str, share: float | None, telemetry: Telemetry, seed: int = 0
) -> ServedWriter:
    """What logs a share of the features that are answered.

    Args:
        settings: where state lives.
        shop: its name.
        share: of the answers, from 0 to 1; as the shop's publication says where None.
        telemetry: is told what became of the rows.
        seed: of the drawing.
    """
    people = open_people(settings, shop=shop)
    return ServedWriter(
        ServedLog(settings.served(shop)), share=share, seed=seed, forgotten=people.forgotten, observe=telemetry.logged
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at the address; UsageError where it is taken or not ours."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"can't listen at {host}:{port} ({reason})", expected="a free address", action="choose another --port"
        ) from error
