"""Keys and tombstones: each user's own key, gone as a whole, and nothing that leads from an id to a pseudonym."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from feature_store.forgetting.marks import FOREVER, NOBODY
from feature_store.forgetting.opening import Pseudonyms, names_behind, open_people
from feature_store.forgetting.people import ForgottenMeanwhileError, People
from feature_store.forgetting.pseudonyms import lookup, pseudonym
from recsys.errors import StorageError, UsageError
from recsys.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path)


@pytest.fixture
def people(settings: Settings) -> People:
    return open_people(settings, shop="small")


def key_of(people: People, user: str) -> bytes:
    with sqlite3.connect(people.file) as database:
        key: bytes = database.execute(
            "SELECT key FROM keys WHERE lookup = ?", (lookup(people.mask.key, user),)
        ).fetchone()[0]
    return key


def everything_in(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.iterdir()))


def test_nothing_is_made_before_it_is_needed(people: People) -> None:
    assert people.forgotten() is NOBODY
    assert people.pseudonyms(["ann"], make=False) == {}
    assert people.tombstones() == []
    assert not people.file.parent.exists()


def test_each_user_has_a_key_of_its_own_for_the_owner_alone(people: People, settings: Settings) -> None:
    found = people.pseudonyms(["ann", "bob", "ann"], make=True)
    assert found["ann"] == pseudonym(key_of(people, "ann"), "ann")
    assert found["ann"] != found["bob"]
    assert key_of(people, "ann") != key_of(people, "bob")
    assert open_people(settings, shop="small").pseudonyms(["bob", "new"], make=False) == {"bob": found["bob"]}
    for file in people.file.parent.glob("small.db*"):
        assert file.stat().st_mode & 0o777 == 0o600, file
    assert b"ann" not in everything_in(people.file.parent)


def test_a_forgotten_key_is_nowhere_and_a_new_one_makes_another_pseudonym(people: People, settings: Settings) -> None:
    before = people.pseudonyms(["ann", "bob"], make=True)
    key = key_of(people, "ann")
    assert key in everything_in(people.file.parent)
    (stone,) = people.forget({"ann": []}, by="me", at=10, until=20)
    assert key not in everything_in(people.file.parent)
    assert before["ann"].encode() not in everything_in(people.file.parent)
    gone = people.forgotten()
    assert gone.until(["ann", before["ann"], "bob", before["bob"]]) == {"ann": 20, before["ann"]: FOREVER}
    assert people.pseudonyms(["ann", "bob"], make=False) == {"bob": before["bob"]}
    again = people.pseudonyms(["ann"], make=True, known=gone)["ann"]
    assert again not in before.values()
    assert people.forgotten().until([again]) == {}
    assert (stone.at, stone.by, stone.done, stone.compacted) == (10, "me", False, False)
    people.note([stone], what="done")
    assert [(one.done, one.compacted) for one in open_people(settings, shop="small").tombstones()] == [(True, False)]


def test_another_process_knows_at_once(people: People, settings: Settings) -> None:
    other = open_people(settings, shop="small")
    people.forget({"ann": ["masked"]}, by="", at=1, until=5)
    assert other.forgotten().until(["ann", "masked"]) == {"ann": 5, "masked": 5}
    people.forget({"ann": []}, by="", at=2, until=3)
    assert other.forgotten().until(["ann"]) == {"ann": 5}
    assert other.forgotten() is other.forgotten()


def test_rows_that_were_read_before_somebody_was_forgotten_get_no_new_key(people: People) -> None:
    people.pseudonyms(["ann", "bob"], make=True)
    before = people.forgotten()
    people.forget({"ann": []}, by="", at=1, until=2)
    names = Pseudonyms(people, make=True)
    with pytest.raises(ForgottenMeanwhileError, match="a user was forgotten while rows were read"):
        names.knowing(before).all(["bob", "ann"])
    assert people.pseudonyms(["ann"], make=False) == {}
    assert "" not in names.knowing(people.forgotten()).all(["bob", "ann"])


def test_users_who_come_at_once_get_one_key_each(settings: Settings) -> None:
    def make(number: int) -> dict[str, str]:
        users = [f"u{one}" for one in range(number % 3, 30)]
        return open_people(settings, shop="small").pseudonyms(users, make=True)

    open_people(settings, shop="small").pseudonyms(["first"], make=True)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(make, range(8)))
    for user in (f"u{one}" for one in range(30)):
        assert len({one[user] for one in found if user in one}) == 1


def test_an_old_copy_is_refused_for_the_ledger_knows_more(people: People, settings: Settings) -> None:
    (stone,) = people.forget({"ann": []}, by="", at=1, until=2)
    line = {"action": "forget", "model": "small", "step": stone.step}
    settings.ledger.write_text(f"no json\n{json.dumps(line)}\n{json.dumps(line | {'model': 'other'})}\n[]\n")
    assert open_people(settings, shop="small").tombstones() == [stone]
    people.close()
    people.file.unlink()
    with pytest.raises(StorageError, match=r"1 of 1 users forgotten .* would come back"):
        open_people(settings, shop="small")


def test_another_shop_wide_key_is_refused(settings: Settings, people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    people.forget({"ann": []}, by="", at=1, until=2)
    monkeypatch.setenv("RECSYS_MASK_KEY", "j" * 32)
    with pytest.raises(UsageError, match="without which nobody stays forgotten"):
        open_people(settings, shop="small").forgotten()
    monkeypatch.delenv("RECSYS_MASK_KEY")
    (settings.home / "keys" / "small.key").unlink()
    with pytest.raises(UsageError, match="there is no key"):
        open_people(settings, shop="small").forgotten()


def test_histories_of_other_keys_are_refused(settings: Settings, people: People) -> None:
    with pytest.raises(UsageError, match=r"are missing; expected those .* copy .*small.db"):
        names_behind("users:0123456789abcdef", settings=settings, shop="small")
    people.pseudonyms(["ann"], make=True)
    with pytest.raises(UsageError, match="are not those that `recsys index` had"):
        names_behind("users:0123456789abcdef", settings=settings, shop="small")
    found = names_behind(people.fingerprint, settings=settings, shop="small")
    assert found is not None
    assert found.all(["ann", "new"]) == [people.pseudonyms(["ann"], make=False)["ann"], ""]
    assert names_behind("", settings=settings, shop="small") is None


def test_a_damaged_file_is_one_line(people: People) -> None:
    people.forget({"ann": []}, by="", at=1, until=2)
    people.close()
    for file in people.file.parent.glob("small.db-*"):
        file.unlink()
    people.file.write_bytes(b"no database, and longer than its header would be".ljust(4096, b"."))
    with pytest.raises(StorageError, match=r"the users' keys in .* fail: file is not a database"):
        people.forgotten()
