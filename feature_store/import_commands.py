"""Signature of the command that imports public data sets; what is heavy is imported when it runs."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from feature_store.options import Home, Machine, parse_pairs
from recsys.cli.output import emit_json, emit_line
from recsys.errors import UsageError
from recsys.settings import load_settings

Name = Annotated[str, typer.Argument(metavar="NAME", help="The data set, see --list.")]
Raw = Annotated[Path | None, typer.Argument(metavar="RAW", help="The folder with its raw files, unpacked.")]
Out = Annotated[Path | None, typer.Argument(metavar="OUT", help="The shop folder to write.")]


def import_set(
    name: Name = "",
    raw: Raw = None,
    out: Out = None,
    *,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch the files into RAW first; goes on where it was stopped.")
    ] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="List the data sets: licence, where they come from, options.")
    ] = False,
    options: Annotated[
        list[str] | None, typer.Option("--set", help="An option of the data set: locale=us; repeatable.")
    ] = None,
    home: Home = None,
    machine: Machine = False,
) -> None:
    """Turn a public data set's raw files into a shop folder, with its shop.toml, and check it.

    With --download and without OUT it only fetches the files.
    """
    from feature_store.importing import download_set, import_shop, listing
    from feature_store.show import show_fetched, show_imported, show_public_sets

    if listed:
        emit_json({"sets": listing()}) if machine else show_public_sets(listing())
        return
    if not name or raw is None or (out is None and not download):
        raise UsageError(
            "too few arguments",
            expected="recsys import NAME RAW OUT, or NAME RAW --download",
            action="see `recsys import --list`",
        )
    chosen = parse_pairs(options or [])
    fetched = download_set(name, raw, options=chosen) if download else []
    if fetched and not machine:
        show_fetched(fetched)
    made = import_shop(name, raw, out, options=chosen, settings=load_settings(home=home)) if out else None
    if machine:
        told = made.as_json() if made else {}
        emit_json(told | {"downloaded": [asdict(one) for one in fetched]} if download else told)
    elif made:
        show_imported(made)
    else:
        emit_line(f"Next: recsys import {name} {raw} OUT")
