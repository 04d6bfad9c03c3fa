"""What every ValueStore must do; run it on a store of your own."""

from collections.abc import Callable, Iterator

from feature_store.online.values import Values, ValueStore
from recsys.errors import StorageError
from recsys.testing.conformance import require

DAY = 86_400.0
STRANGERS = ["nobody", "ü" * 300, "a" * 499]


def check_value_store(make: Callable[[Callable[[], float]], ValueStore]) -> None:
    """Publish, read, update, delete, expire; and that another one opened beside it sees the same.

    Args:
        make: opens one and the same store, empty at first, with a clock (seconds since 1970).

    Raises:
        ConformanceError: the store answers otherwise; the text says what was asked.
    """
    now = [1_700_000_000.0]
    store, other = make(lambda: now[0]), make(lambda: now[0])
    check_nothing(store)
    require(not store.published(), "published() before anything was")
    values = {f"k{number:04d}": bytes([number % 256]) * (number % 7) for number in range(3_000)} | {"ç" * 200: b"long"}
    first = store.publish(values.items(), ttl_s=DAY)
    for one in (store, other):
        require(one.published(), "published() after publish()")
        require(one.generation() == first, "another generation than was published")
        asked = [*STRANGERS, *list(values)[::-7], *STRANGERS, "k0000", "k0000"]
        require(one.read(asked) == [values.get(key) for key in asked], "read() after publish()")
        require(one.read([]) == [], "read() of no key")
        require(one.keys() == sorted(values), "keys() after publish()")
        require(one.keys("k001") == [f"k{number:04d}" for number in range(10, 20)], "keys() with a prefix")
    check_updates(store, other)
    check_deletion(store, other, values | {"k0001": b"changed", "new": b"one more"})
    second = other.publish([("k0001", b"second")], ttl_s=2 * DAY)
    require(second != first and store.generation() == second, "the second generation is not read")
    require(store.read(["k0001", "k0005", "new"]) == [b"second", None, None], "generations are mixed")
    check_failure(store)
    now[0] += 2 * DAY
    check_nothing(store)
    require(store.published() and other.published(), "what has expired passes for never published")
    require(not store.update(["k0001"], lambda _: {"k0001": b""}), "update() of what has expired")
    store.publish([("k0001", b"third")], ttl_s=DAY)
    require(other.read(["k0001"]) == [b"third"], "publish() after all has expired")


def check_nothing(store: ValueStore) -> None:
    """Nothing is published, or all of it has expired."""
    require(store.generation() is None, "a generation before any, or after it has expired")
    require(store.read(["k0001", "k0002"]) == [None, None], "values before any, or after they have expired")
    require(store.keys() == [], "keys() before any, or after they have expired")
    require(store.delete(["k0001"]) == 0, "delete() of nothing")


def check_updates(store: ValueStore, other: ValueStore) -> None:
    """A change is seen by all, as a whole, and builds on what others changed."""

    def set_both(values: Values) -> dict[str, bytes]:
        require(values == [b"\x01", None], f"a change is shown {values}")
        return {"k0001": b"changed", "new": b"1"}

    require(store.update(["k0001", "new"], set_both), "update() says that nothing was written")
    require(other.read(["k0001", "new", "k0003"]) == [b"changed", b"1", b"\x03" * 3], "read() after update()")
    for number in range(2, 6):
        writer = (store, other)[number % 2]
        writer.update(["new"], lambda values: {"new": str(int(values[0] or 0) + 1).encode()})
    require(other.read(["new"]) == [b"5"], "updates of two writers do not add up")
    require(not other.update(["new"], lambda _: None), "update() says that something was written")
    require(other.update(["new"], lambda _: {}), "update() with nothing to write")

    def fails(_: Values) -> dict[str, bytes]:
        raise KeyError("a change that fails")

    try:
        store.update(["new"], fails)
    except KeyError:
        require(store.read(["new"]) == [b"5"], "a change that fails leaves something")
    store.update([], lambda _: {"new": b"one more"})
    require("new" in set(store.keys()), "keys() lacks what was updated")


def check_deletion(store: ValueStore, other: ValueStore, values: dict[str, bytes]) -> None:
    """What is deleted is gone for all, whether published or updated; everything else stays."""
    require(store.delete(["new", "k0002", "k0002", "nobody"]) == 2, "delete() counts otherwise")
    left = {key: value for key, value in values.items() if key not in ("new", "k0002")}
    for one in (store, other):
        require(one.read(["new", "k0002", "k0001"]) == [None, None, b"changed"], "read() after delete()")
        require(one.keys() == sorted(left), "keys() after delete()")
        require(one.read(list(left)) == list(left.values()), "delete() changed other values")
    other.update([], lambda _: {"k0001": b"again"})
    require(store.read(["k0001"]) == [b"again"], "update() after delete()")


def check_failure(store: ValueStore) -> None:
    """A publisher that fails leaves what was there."""

    def broken() -> Iterator[tuple[str, bytes]]:
        yield from ((f"x{number}", b"x") for number in range(2_500))
        raise StorageError("the shop", expected="", action="")

    try:
        store.publish(broken(), ttl_s=DAY)
    except StorageError:
        require(store.read(["k0001", "x1"]) == [b"second", None], "a publisher that failed changed something")
        return
    require(False, "a publisher that failed says nothing")
