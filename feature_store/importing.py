"""A public data set's raw files as a shop folder: converted in streams, put into place as a whole, then checked."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from feature_store.checked import Checked, validate_shop
from feature_store.config import CONFIG
from feature_store.contracts import contract_columns
from feature_store.faults import readable
from feature_store.sources.archive import unpack
from feature_store.sources.fetch import fetch
from feature_store.sources.public_set import Converted, PublicSet
from feature_store.sources.registry import PUBLIC_SETS, public_set
from feature_store.sources.sums import Fetched
from feature_store.suggest import Known, suggest
from recsys.digest import file_sha256
from recsys.errors import UsageError
from recsys.logs import progress
from recsys.settings import Settings
from recsys.storage import atomic_file, atomic_folder, refuse_other_files

MANIFEST = "import.json"
ROW_GROUP = 131_072


@dataclass(frozen=True)
class Imported:
    """A shop folder that was made of a public data set.

    Attributes:
        source: the data set.
        folder: the shop folder.
        rows: rows by table.
        notes: what was decided on the way.
        checked: what the input contract says of it.
    """

    source: PublicSet
    folder: Path
    rows: dict[str, int]
    notes: tuple[str, ...]
    checked: Checked

    def as_json(self) -> dict[str, Any]:
        """The report for machines."""
        told: dict[str, Any] = {"source": self.source.name, "state": self.source.state, "licence": self.source.licence}
        told |= {"folder": str(self.folder), "rows": self.rows, "notes": list(self.notes)}
        return told | {"validation": self.checked.as_json()}


def import_shop(name: str, raw: Path, out: Path, *, options: Mapping[str, str], settings: Settings) -> Imported:
    """Turn raw files into a shop folder, and check it.

    Args:
        name: of the data set, see `recsys import --list`.
        raw: the folder with its files, in whatever folders below.
        out: apart from `raw`; new, empty or an older import that nobody has changed, which is replaced once
            the new one is whole.
        options: of the data set.
        settings: where state lives.

    Raises:
        UsageError: there is no such data set or option, or `out` holds something else.
        ShopError: a raw file is missing or of another edition, or a table's contract fails as a whole.
        StorageError: the disk is full.
    """
    source = public_set(name)
    if unknown := set(options) - set(source.options):
        raise UsageError(
            f"{name} has no option {', '.join(sorted(unknown))}",
            expected=f"one of {', '.join(source.options) or 'none'}",
            action="see `recsys import --list`",
        )
    refuse_nested(raw, out)
    refuse_other_files(out, what="import as it was written", older=is_import)
    with readable(raw):
        made = source.convert(raw, options)
    with atomic_folder(out.resolve()) as folder:
        rows = write_tables(made, folder, raw=raw)
        known = Known(
            name=name,
            currency=made.currency,
            timestamps=made.timestamps,
            max_grade=made.max_grade,
            comments=(f"{source.title}: {source.link}", f"licence: {source.licence}", source.state, *made.notes),
        )
        (folder / CONFIG).write_text(suggest(folder, known=known).text, encoding="utf-8")
        told = described(source, made, raw=raw, options=options) | {
            "rows": rows,
            "config": file_sha256(folder / CONFIG),
        }
        (folder / MANIFEST).write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    checked = validate_shop(out, settings=settings)
    return Imported(source=source, folder=out, rows=rows, notes=made.notes, checked=checked)


def write_tables(made: Converted, folder: Path, *, raw: Path) -> dict[str, int]:
    """Write each table as Parquet, in streams; give their rows by name.

    Columns outside the contract that hold nothing are left out.
    """
    rows = {}
    for name, frame in progress(made.tables.items(), label="Writing the tables", total=len(made.tables)):
        file = folder / f"{name}.parquet"
        with readable(raw):
            frame.sink_parquet(file, row_group_size=ROW_GROUP)
        leave_out_empty(file, own=[one for one in frame.collect_schema() if one not in contract_columns(name)])
        rows[name] = int(pl.scan_parquet(file).select(pl.len()).collect().item())
    return rows


def leave_out_empty(file: Path, *, own: list[str]) -> None:
    """Write a table again without those of its own columns that hold nothing, where there are any."""
    if not own:
        return
    written = pl.scan_parquet(file)
    filled = written.select(pl.col(own).is_not_null().any()).collect(engine="streaming").row(0, named=True)
    if empty := [name for name, there in filled.items() if not there]:
        with atomic_file(file) as partial:
            written.drop(empty).sink_parquet(partial, row_group_size=ROW_GROUP)


def refuse_nested(raw: Path, out: Path) -> None:
    """Refuse to write among the raw files, or around them: the next import would read its own result or remove them.

    Raises:
        UsageError: one folder lies in the other, or both are the same.
    """
    one, other = raw.resolve(), out.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise UsageError(
            f"{out} and {raw} lie in one another", expected="two folders apart", action="choose another OUT"
        )


def is_import(folder: Path) -> bool:
    """True for a folder that holds what an import wrote and nothing else, its shop.toml as it was written."""
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        names = {CONFIG, MANIFEST, *(f"{table}.parquet" for table in told["rows"])}
        same = file_sha256(folder / CONFIG) == told["config"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return same and {path.name for path in folder.iterdir()} <= names


def described(source: PublicSet, made: Converted, *, raw: Path, options: Mapping[str, str]) -> dict[str, Any]:
    """Where the shop comes from: the data set, its raw files with their sums, options, notes."""
    files = {
        str(file.relative_to(raw)): {"bytes": file.stat().st_size, "sha256": file_sha256(file)} for file in made.files
    }
    told: dict[str, Any] = {
        "source": source.name,
        "title": source.title,
        "link": source.link,
        "licence": source.licence,
    }
    told |= {"state": source.state, "options": dict(options), "notes": list(made.notes)}
    return told | {"files": files}


def download_set(name: str, raw: Path, *, options: Mapping[str, str]) -> list[Fetched]:
    """Fetch a data set's files into a folder and unpack archives; what is there already stays.

    Raises:
        UsageError: there is no such data set, or it has to be fetched by hand.
        StorageError: a file can't be fetched, or has another sum than it should.
    """
    source = public_set(name)
    if not source.downloads:
        raise UsageError(
            f"{name} has no address that anyone may download from",
            expected="a person who accepts its terms",
            action=f"{source.instructions}: {source.link}",
        )
    variant = options.get("variant", source.downloads[0].variant)
    wanted = [one for one in source.downloads if one.variant == variant]
    if not wanted:
        variants = ", ".join(dict.fromkeys(one.variant for one in source.downloads))
        raise UsageError(f"--set variant={variant}", expected=f"one of {variants}", action="correct it")
    found = [fetch(one, raw) for one in wanted]
    for one in found:
        if one.file.suffix == ".zip":
            unpack(one.file)
    return found


def listing() -> list[dict[str, Any]]:
    """Every data set for machines."""
    keys = ("name", "title", "licence", "link", "verified", "documentation", "instructions", "options")
    return [
        {key: getattr(one, key) for key in keys} | {"downloads": [asdict(file) for file in one.downloads]}
        for one in PUBLIC_SETS.values()
    ]
