"""Features as of this moment: read for many keys in one call, and kept up with the event log."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import time_ns
from typing import NamedTuple

from feature_store.event_log.log import Stored
from feature_store.event_log.parts import Position
from feature_store.forgetting.marks import Forgotten
from feature_store.masking import Names
from feature_store.online.values import Values, ValueStore
from feature_store.online_features.cells import added
from feature_store.online_features.deltas import Counting, Deltas, count, stored_rows, values_of
from feature_store.online_features.layout import CODES, IDS, beginning, first_part, key_of
from feature_store.online_features.reading import Read, stored_keys
from feature_store.online_features.served import Served, serve
from feature_store.online_features.state import ABOUT, AGAIN, STATE, Row, State
from feature_store.point_in_time.definitions import DAY, ENTITIES, Entity, Measure
from feature_store.point_in_time.streams import kind_codes
from recsys.errors import StorageError, UsageError
from recsys.text.normalise import normalise


class OnlineFeatures:
    """The features of a shop in a ValueStore.

    Args:
        store: what `recsys table publish` filled.
        mask: what users are called in the store; None where their ids are plain.
        clock: microseconds since 1970.
    """

    def __init__(
        self,
        store: ValueStore,
        *,
        mask: Names | None = None,
        clock: Callable[[], int] = lambda: time_ns() // 1000,
    ) -> None:
        self.store = store
        self.mask = mask
        self.clock = clock
        self._served: Served | None = None
        self._state = (b"", State(Position(), 0))

    def read(self, entity: Entity, keys: Sequence[Sequence[str]], *, now: int | None = None) -> Read:
        """All features of many keys, the bits that training rows at `now` would get.

        Args:
            entity: whose.
            keys: the parts of each key in the order of ENTITIES; of a key that is not known counts are 0.
            now: the instant, at or after everything in the store; the clock, or the newest of it, where None.

        Raises:
            StorageError: nothing is published (or it has expired), or the store fails.
            UsageError: nothing is published of that entity, a key has other parts, or `now` lies before the newest
                that is known.
        """
        called = self._called(entity, keys)
        about, packed, *records = self.store.read([ABOUT, STATE, *stored_keys(entity, called)])
        served, state = self._ready(about), self._state_of(packed or b"")
        if entity not in served.layouts:
            raise UsageError(
                f"no feature of {entity} is published",
                expected=f"one of {', '.join(served.layouts)}",
                action="publish some: recsys table publish SHOP",
            )
        newest = max(served.about.at, state.newest)
        at = max(newest, self.clock()) if now is None else now
        if at < newest:
            raise UsageError(
                f"features as of {at} microseconds",
                expected=f"{newest} or later: the past is gone",
                action="ask for now",
            )
        plan = served.plans[entity]
        priors = state.priors(plan.layout.features, served.drawn, now=at)
        values = plan.read(records, now=at, priors=priors)
        return Read(entity, called, served.names[entity], values, at, newest, state.position, served.about)

    def position(self) -> Position | None:
        """How far into the event log the features reach; None where nothing is published."""
        about, state = self.store.read([ABOUT, STATE])
        return None if about is None else State.of(state or b"").position

    def published(self) -> bool:
        """True where some were published once, whether they are still there or not."""
        return self.store.published()

    def due(self) -> bool:
        """True where an event waits whose time has come."""
        (state,) = self.store.read([STATE])
        return state is not None and any(row["start"] <= self.clock() for row in State.of(state).waiting)

    def add(self, events: Sequence[Stored], *, until: Position, now: int | None = None) -> bool:
        """Let the next events of the log change the features; each counts once, however often it is brought.

        Args:
            events: of the log, in order.
            until: the place in the log that is reached with them.
            now: an instant before the log was read, so that nothing counts before what the log took earlier; the clock
                where None.

        Returns:
            True where something was written: not where another process was first, or nothing is published.
        """
        about, packed = self.store.read([ABOUT, STATE])
        if about is None or packed is None:
            return False
        served, state = self._ready(about), State.of(packed)
        after = state.position.within(until.identity)
        rows = stored_rows([one for one in events if one.number > after], values_of(served.features))
        now = self.clock() if now is None else now
        waiting = [*state.waiting, *rows]
        ready = [row for row in waiting if row["start"] <= now]
        if not ready and until.identity == state.position.identity and until.number <= after:
            return False
        later = [row for row in waiting if row["start"] > now]
        products = [product_key(row) for row in ready if "product_id" in row]
        keys = list(dict.fromkeys([STATE, *products, *count(ready, served.countings).keys()]))
        step = Step(until if until.number > after else state.position, ready, later, packed)
        return self.store.update(keys, partial(self._changed, served, step, keys))

    def forget(self, user_ids: Sequence[str]) -> int:
        """Remove what is kept of users and of their pairs with products; how many records there were.

        Counts of products stay, which name no one.
        """
        names = list(user_ids) if self.mask is None else self.mask.all(user_ids)
        keys = [key_of("user", (name,)) for name in names]
        keys += [key for name in names for key in self.store.keys(beginning("user_product", name))]
        return self.store.delete([*keys, *(IDS + key for key in keys)])

    def forget_past(self, forgotten: Forgotten) -> int:
        """Remove what is kept of forgotten users, by the names that they have here; how many records there were."""
        if not forgotten:
            return 0
        users = {key[1:] for key in self.store.keys(CODES["user"])}
        users |= {first_part(key) for key in self.store.keys(CODES["user_product"])}
        return OnlineFeatures(self.store).forget([*forgotten.until(users)])

    def _changed(self, served: Served, step: "Step", keys: Sequence[str], values: Values) -> Mapping[str, bytes] | None:
        """What a step writes; None where the state is another one by now."""
        stored = dict(zip(keys, values, strict=True))
        if stored[STATE] != step.before:
            return None
        known = [row for row in step.ready if "product_id" not in row or stored[product_key(row)] is not None]
        state = State.of(step.before)
        state.position, state.waiting = step.position, step.waiting
        state.newest = max([state.newest, *(row["start"] for row in known)])
        count_shop(state, served.drawn, known)
        found = {STATE: state.packed()}
        for entity, counting in served.countings.items():
            found |= self._records(counting, count(known, {entity: counting}), stored, now=state.newest)
        return found

    def _records(
        self, counting: Counting, deltas: Deltas, stored: Mapping[str, bytes | None], *, now: int
    ) -> dict[str, bytes]:
        """The new records of one entity, and the ids that go with them."""
        entity = counting.layout.entity
        cells, found = deltas.cells.get(entity, {}), {}
        for key, seen in deltas.ids.get(entity, {}).items():
            counted = counting.counted(stored[IDS + key], seen, oldest=now)
            cells[key] += counted.cells
            found[IDS + key] = counted.ids
        records = added(counting.layout, [stored[key] for key in cells], list(cells.values()), now=now)
        return found | dict(zip(cells, records, strict=True))

    def _called(self, entity: Entity, keys: Sequence[Sequence[str]]) -> Sequence[Sequence[str]]:
        """The keys as the store knows them; UsageError where one has other parts than the entity."""
        columns = ENTITIES[entity]
        if odd := [key for key in keys if len(key) != len(columns)]:
            raise UsageError(
                f"a key of {len(odd[0])} parts",
                expected=f"{' and '.join(columns)} of each {entity}",
                action="correct it",
            )
        if columns[0] == "user_id" and self.mask is not None:
            called = self.mask.all([key[0] for key in keys])
            keys = [(name, *key[1:]) for name, key in zip(called, keys, strict=True)]
        if columns[0] == "query":
            keys = [(normalise(key[0]), *key[1:]) for key in keys]
        return keys

    def _state_of(self, packed: bytes) -> State:
        """The state, for reading alone: it is read again only where it has changed."""
        held = self._state
        if held[0] != packed:
            held = self._state = (packed, State.of(packed))
        return held[1]

    def _ready(self, packed: bytes | None) -> Served:
        """What a generation says of itself, ready to be used.

        Raises:
            StorageError: nothing is published, or by other definitions or another key than ours.
        """
        if packed is None:
            raise StorageError("no online features", expected="some of this shop that have not expired", action=AGAIN)
        if self._served is None or self._served.packed != packed:
            self._served = serve(packed, mask=self.mask.fingerprint if self.mask else "")
        return self._served


class Step(NamedTuple):
    """One step along the event log.

    Attributes:
        position: what is reached with it.
        ready: the events that count now.
        waiting: those that will, later.
        before: the state that it starts from, as it was stored.
    """

    position: Position
    ready: list[Row]
    waiting: list[Row]
    before: bytes


def count_shop(state: State, measures: Sequence[Measure], rows: Sequence[Row]) -> None:
    """Add events to what rates are drawn towards."""
    for number, measure in enumerate(measures):
        kinds = set(kind_codes(measure.kinds))
        for row in rows:
            if measure.stream == "events" and (not kinds or row["kind"] in kinds):
                worth = 1 if measure.value == "one" else row.get(f"worth {measure.value}", 0)
                state.add(number, day=row["start"] // DAY, worth=worth)
    state.tidy()


def product_key(row: Row) -> str:
    """The key of the product that an event names."""
    return key_of("product", (row["product_id"],))
