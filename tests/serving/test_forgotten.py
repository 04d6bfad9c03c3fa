"""A night that was written before a user was forgotten still verifies, and tells so."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from feature_store.forgetting.opening import open_people
from recsys.settings import load_settings
from recsys.types import Answer, Hit, Rung
from serving.batch import describe, rows
from serving.night import MANIFEST, NightManifest
from tests.command import recsys
from tests.serving.fake_night import new_night

NIGHT = date(2025, 3, 1)


def write_night(folder: Path, users: list[str]) -> None:
    folder.mkdir()
    hits = tuple(Hit(product_id=f"p{rank}", rank=rank, score=1.0 / rank, source="als") for rank in (1, 2))
    answers = [Answer(hits=hits, rung=Rung.PERSONAL, model_version="m/1") for _ in users]
    rows(users, answers, night=NIGHT).write_parquet(folder / "part-00000.parquet")
    part = describe(folder / "part-00000.parquet", loyal=[])
    manifest = NightManifest(
        night=NIGHT, shop="small", model_version="m/1", index="i", inputs="s", k=2, users=len(users), parts=[part]
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json())


def test_a_night_of_before_is_whole_and_says_who_was_forgotten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = open_people(load_settings(), shop="small")
    hidden = people.pseudonyms(["dan"], make=True)["dan"]
    write_night(tmp_path / "night", sorted(["ann", "bob", "cid", hidden]))
    found = recsys(capsys, "batch", "verify", tmp_path / "night", "--json").report
    assert (found["verified"], found["forgotten_users"], found["forgotten_rows"]) == (True, 0, 0)
    midnight = int(datetime(2025, 3, 1, tzinfo=UTC).timestamp()) * 1_000_000
    people.forget({"ann": [], "dan": []}, by="", at=midnight, until=midnight + 1)
    people.forget({"bob": []}, by="", at=0, until=midnight - 1)  # and came back before this night
    found = recsys(capsys, "batch", "verify", tmp_path / "night", "--json").report
    assert (found["verified"], found["forgotten_users"], found["forgotten_rows"]) == (True, 2, 4)
    done = recsys(capsys, "batch", "verify", tmp_path / "night")
    assert "verified: every file is what the manifest says" in done.out
    assert "2 users were forgotten since this night: 4 rows" in done.out


def test_the_next_night_reads_the_tables_anew(tmp_path: Path) -> None:
    """They have not changed, and yet are read without the user."""
    night = new_night(tmp_path)
    night.run()
    night.run()
    assert "features" not in {line.split()[0] for line in night.lines()}
    open_people(load_settings(home=tmp_path), shop="sample").forget({"ann": []}, by="", at=0, until=0)
    night.run()
    assert {"validate", "doctor", "features", "index"} <= {line.split()[0] for line in night.lines()}
