"""Options that several commands share."""

from typing import Annotated

import typer

from recsys.types import Filters

Shop = Annotated[
    str | None, typer.Option("--shop", help="The shop's name; needed only where several shops have an index.")
]
Brand = Annotated[list[str] | None, typer.Option("--brand", help="Only this brand; repeat it for several.")]
Category = Annotated[
    list[str] | None,
    typer.Option("--category", help='Only this category and those below it, as "Home > Sofas"; repeatable.'),
]
PriceMin = Annotated[float | None, typer.Option("--price-min", min=0, help="Lowest price.")]
PriceMax = Annotated[float | None, typer.Option("--price-max", min=0, help="Highest price.")]
InStock = Annotated[bool | None, typer.Option("--in-stock/--sold-out", help="Only what is in stock, or is not.")]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", help="A product id never to show; repeatable.")]


def filters(
    *,
    brand: list[str] | None,
    category: list[str] | None,
    price_min: float | None,
    price_max: float | None,
    in_stock: bool | None,
    exclude: list[str] | None,
) -> Filters:
    """The filters that a command line names."""
    return Filters(
        brand=tuple(brand or ()),
        category=tuple(category or ()),
        price_min=price_min,
        price_max=price_max,
        in_stock=in_stock,
        exclude=tuple(exclude or ()),
    )
