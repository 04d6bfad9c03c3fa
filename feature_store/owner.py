"""Whose state it is: a shop without a name shares its folders with every other one, so that only one may have them."""

from pathlib import Path

from recsys.errors import ShopError
from recsys.settings import Settings
from recsys.storage import locked, write_text

OWNER = "shop-folder"


def claim_state(shop: Path, *, name: str, settings: Settings) -> None:
    """Tie the state of a shop without a name to its folder; a name needs no such tie.

    Args:
        shop: the shop folder.
        name: of the shop, "" where it has none.
        settings: where state lives.

    Raises:
        ShopError: the state belongs to another folder.
    """
    if name:
        return
    file, place = settings.index("") / OWNER, str(shop.resolve())
    with locked(settings.locks / "owner.lock"):
        if not file.is_file():
            write_text(file, place)
        owner = file.read_text(encoding="utf-8")
    if owner != place:
        raise ShopError(
            f"{place} has no name, and the state of the shop without one belongs to {owner}",
            expected="one such shop for each home folder",
            action=f"set `name` in {place}/shop.toml (or remove {file}, if that shop was moved here)",
        )
