"""No line of the ledger can be changed, moved, added or removed inside without being named."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.errors import RegistryError
from recsys.ledger import START, Entry, append, drop_torn_line, read, seal


def step(version: int) -> Entry:
    return Entry(
        number=0,
        at="2026-01-02T03:04:05+00:00",
        action="promote",
        model="recommender",
        version=version,
        digest="d" * 64,
        replaced=version - 1,
        by="Ada",
        approved_by="Ada",
        reason='besser "als" zuvor ü',
        step=f"step-{version}",
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    for version in (1, 2, 3):
        append(tmp_path / "home" / "ledger.jsonl", step(version))
    return tmp_path / "home" / "ledger.jsonl"


def test_lines_are_chained(path: Path) -> None:
    entries = read(path)
    assert [entry.number for entry in entries] == [1, 2, 3]
    assert [entry.previous for entry in entries] == [START, entries[0].hash, entries[1].hash]
    assert [replace(entry, number=0, previous=START, hash="") for entry in entries] == [step(1), step(2), step(3)]


def test_no_ledger_is_an_empty_one(tmp_path: Path) -> None:
    assert read(tmp_path / "none.jsonl") == []


@given(line=st.integers(0, 2), field=st.sampled_from(sorted(asdict(step(1)))))
@settings(max_examples=40, deadline=None)
def test_a_changed_field_is_named_by_line(tmp_path_factory: pytest.TempPathFactory, line: int, field: str) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    for version in (1, 2, 3):
        append(path, step(version))
    lines = path.read_text().splitlines()
    fields = json.loads(lines[line])
    fields[field] = 99 if isinstance(fields[field], int) else f"{fields[field]}x"
    lines[line] = json.dumps(fields)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(RegistryError, match=f"line {line + 1} of"):
        read(path)


def test_a_forger_who_seals_his_line_breaks_the_next(path: Path) -> None:
    lines = path.read_text().splitlines()
    fields = json.loads(lines[0]) | {"approved_by": "Mallory"}
    fields["hash"] = seal(fields)
    path.write_text("\n".join([json.dumps(fields), *lines[1:]]) + "\n")
    with pytest.raises(RegistryError, match=r"line 2 of .* does not follow"):
        read(path)


@pytest.mark.parametrize(
    ("order", "line"),
    [([1, 2], 1), ([0, 2], 2), ([1, 0, 2], 1), ([0, 0, 1, 2], 2)],
    ids=["first", "middle", "swap", "twice"],
)
def test_removed_moved_and_doubled_lines_are_named(path: Path, order: list[int], line: int) -> None:
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{lines[number]}\n" for number in order))
    with pytest.raises(RegistryError, match=f"line {line} of"):
        read(path)


@pytest.mark.parametrize("garbage", ["", "[]", "{}", "not json", "\x00"])
def test_garbage_is_named_and_nothing_is_added_to_it(path: Path, garbage: str) -> None:
    with path.open("a") as handle:
        handle.write(f"{garbage}\n")
    before = path.read_bytes()
    with pytest.raises(RegistryError, match=r"line 4 of .* is no ledger entry"):
        append(path, step(4))
    assert path.read_bytes() == before


def test_a_torn_last_line_is_named_and_can_be_dropped(path: Path) -> None:
    whole = path.read_bytes()
    with path.open("ab") as handle:
        handle.write(b'{"number": 4, "at"')
    with pytest.raises(RegistryError, match=r"line 4 of .* is cut off"):
        read(path)
    assert drop_torn_line(path)
    assert not drop_torn_line(path)
    assert path.read_bytes() == whole
    assert append(path, step(4)).number == 4
