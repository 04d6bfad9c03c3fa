"""Open what a shop's live index needs: the engine over it, and the histories of its users."""

from pathlib import Path

from feature_store.event_log.log import EventLog
from feature_store.event_log.opening import has_log, open_log
from feature_store.forgetting.opening import names_behind, open_people
from feature_store.fresh import FreshHistories
from feature_store.masking import Names
from feature_store.online.opening import history_store
from feature_store.online.watch import Watch
from recsys.engine.current import CURRENT, current_index, current_until
from recsys.engine.engine import Engine
from recsys.errors import IndexMismatchError, UsageError
from recsys.settings import Settings
from serving.moments import Clock, usual_moment, wall_clock


def find_shop(settings: Settings, *, shop: str | None) -> str:
    """The shop that is meant: the one named, else the only one with an index.

    Raises:
        IndexMismatchError: no shop has an index, or not the one named.
        UsageError: several have one and none was named.
    """
    folder = settings.index("").parent
    found = sorted(path.parent.name for path in folder.glob(f"*/{CURRENT}"))
    listed = ", ".join(found) or "none"
    if shop is not None and (shop or settings.index("").name) not in found:
        raise IndexMismatchError(
            f"no index of shop `{shop}` in {settings.home}",
            expected=f"one of {listed}",
            action="run `recsys index SHOP`",
        )
    if shop is not None:
        return shop
    if not found:
        raise IndexMismatchError(
            f"no index in {settings.home}",
            expected="the index of a shop",
            action="run `recsys nightly SHOP -o OUT`, `recsys index SHOP` or `recsys demo` first",
        )
    if len(found) > 1:
        raise UsageError(f"indexes of {listed}", expected="one shop", action="name it with --shop")
    return found[0]


def open_engine(
    folder: Path,
    *,
    settings: Settings,
    shop: str,
    verify: bool = True,
    events: EventLog | None = None,
    watch: Watch | None = None,
    clock: Clock = wall_clock,
) -> Engine:
    """The engine over an index folder, with the histories that the last `recsys index` wrote for the shop.

    Args:
        folder: of the index.
        settings: where state lives.
        shop: the shop's name.
        verify: hash every file first.
        events: the shop's event log, whose newest events are part of the histories; None leaves them out.
        watch: is told whether the online store answers; without it the engine's answers go on all the same.
        clock: tells the moment that recommendations are for where nobody says; see `usual_moment`.

    Raises:
        IndexMismatchError: the index is not whole.
        UsageError: the histories have other names for users, and their keys are others or missing.
    """
    now = usual_moment(current_until(settings.index(shop)), clock=clock)
    names, people = stored_names(settings, shop=shop), open_people(settings, shop=shop)
    store = history_store(settings, shop=shop)
    watch = watch or Watch()
    watch.ask(lambda: store.known([]), otherwise=None)  # what is gone is told before anyone is taken for unknown
    histories = FreshHistories(store, events, names, watch, people.forgotten)
    return Engine.open(folder, settings=settings, histories=histories, now=now, verify=verify)


def stored_names(settings: Settings, *, shop: str, make: bool = False) -> Names | None:
    """What users are called in the stored histories, those that a server has lost included; None where ids are plain.

    Args:
        settings: where histories and keys stand.
        shop: the shop's name.
        make: give users a pseudonym who have none yet, as those have who take new events.

    Raises:
        UsageError: the keys are missing, or others than the histories were written with.
        StorageError: the online store does not answer.
    """
    held = history_store(settings, shop=shop).held()
    return None if held is None else names_behind(held.mask, settings=settings, shop=shop, make=make)


def open_live(settings: Settings, *, shop: str | None) -> Engine:
    """The engine over a shop's live index."""
    name = find_shop(settings, shop=shop)
    events = open_log(settings, shop=name) if has_log(settings, shop=name) else None
    return open_engine(current_index(settings.index(name)), settings=settings, shop=name, events=events)
