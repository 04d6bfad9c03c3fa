"""kill -9 at every durable step of forgetting: nothing half done counts, and the next call finishes it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from feature_store.event_log.door import Door
from feature_store.event_log.opening import open_log
from feature_store.forgetting.opening import Pseudonyms, open_people
from feature_store.online.lmdb import LmdbStore
from feature_store.snapshot import Snapshot, build_snapshot
from recsys import ledger
from recsys.settings import Settings, load_settings
from tests.event_logs import row
from tests.feature_store.forgetting import killed
from tests.feature_store.forgetting.test_rows_kept_out import PSEUDONYMS
from tests.feature_store.test_online import table
from tests.shops import small_tables, write_shop

USERS = ["u03", "u04"]


def prepare(settings: Settings, shop: Path) -> tuple[dict[str, str], Snapshot]:
    """Keys, a log, histories of two generations and a snapshot; and what the users are called there."""
    snapshot = build_snapshot(write_shop(shop, small_tables(), toml=PSEUDONYMS), settings=settings)
    people = open_people(settings, shop="small")
    names = people.pseudonyms(USERS, make=True)
    log = open_log(settings, shop="small", mask=people.fingerprint)
    rows = [row(number, user_id=USERS[number % 2]) for number in range(6)]
    log.append(Door(Pseudonyms(people, make=True)).check(rows).events)
    log.close()
    people.close()
    store = LmdbStore(settings.online("small"))
    for product in ("p1", "p2"):
        store.materialise(table({name: [(product, 5, "view")] for name in sorted(names.values())}, {}))
    return names, snapshot


def check_whole(settings: Settings, names: dict[str, str]) -> None:
    """Whoever looks in between: either nobody was forgotten, or nothing leads from the id to anything any more."""
    people = open_people(settings, shop="small")
    stones, gone = people.tombstones(), people.forgotten().until(["u03", names["u03"]])
    assert (len(stones), len(gone), people.pseudonyms(USERS, make=False)) in (
        (0, 0, names),
        (1, 2, {"u04": names["u04"]}),
    )
    people.close()
    ledger.drop_torn_line(settings.ledger)
    assert len(ledger.read(settings.ledger)) <= len(stones)


def check_done(settings: Settings, names: dict[str, str], snapshot: Snapshot) -> None:
    (line,) = ledger.read(settings.ledger)
    (stone,) = open_people(settings, shop="small").tombstones()
    assert (line.action, line.model, line.step, line.by) == ("forget", "small", stone.step, "me")
    assert stone.done
    log = open_log(settings, shop="small")
    assert log.users() == [names["u04"]]
    log.close()
    store = LmdbStore(settings.online("small"))
    generations = [one.name.removeprefix("generation-") for one in store.folder.glob("generation-*")]
    assert store.generation() in generations
    for name in generations:
        assert store.pin(name).user_ids() == [names["u04"]]
    snapshot.verify()


def test_forgetting_is_whole_wherever_it_is_killed(tmp_path: Path) -> None:
    settings = load_settings()
    names, snapshot = prepare(settings, tmp_path / "shop")
    shutil.copytree(settings.home, tmp_path / "before")
    environment = {**os.environ, "PYTHONPATH": str(Path(killed.__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, killed.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=tmp_path,
    ) as nursery:

        def forget(last: int) -> str:
            """What a child said at its end, killed at a step."""
            assert nursery.stdin is not None
            assert nursery.stdout is not None
            nursery.stdin.write(f"{last}\n")
            nursery.stdin.flush()
            said = nursery.stdout.readline()
            if said.startswith("done"):
                assert nursery.stdout.readline() == "ended 0\n"
            return said.strip()

        last, step = "ended 9", 0
        while last == "ended 9":
            step += 1
            shutil.rmtree(settings.home)
            shutil.copytree(tmp_path / "before", settings.home)
            last = forget(step)
            check_whole(settings, names)
            finished = last if last != "ended 9" else forget(0)
            assert finished in ("done 1 0 0 1", "done 0 1 1 1", "done 0 1 0 1"), (step, finished)
            check_done(settings, names, snapshot)
        assert nursery.stdin is not None
        nursery.stdin.close()
    assert last == "done 1 0 0 1"
    assert step > 20
