"""Options that several commands share."""

from typing import TYPE_CHECKING, Annotated

import typer

from recsys.errors import UsageError
from recsys.types import Filters

if TYPE_CHECKING:
    from recsys.engine.policy import ListShape

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

Diversity = Annotated[float | None, typer.Option(min=0, max=1, help="Variety against relevance; 0 keeps the order.")]
PerCategory = Annotated[int | None, typer.Option(min=1, help="At most so many of one category.")]
PerBrand = Annotated[int | None, typer.Option(min=1, help="At most so many of one brand.")]
CategoryDepth = Annotated[
    int | None, typer.Option(min=0, help="Parts of a category's path that tell it from others, from the top; 0: all.")
]
Available = Annotated[
    bool | None, typer.Option("--available/--any-stock", help="Leave out what is known to be sold out.")
]
PriceBand = Annotated[
    tuple[float, float] | None,
    typer.Option("--price-band", help="From A to B times what the shopper usually buys, as 0.5 2."),
]
ReturnDays = Annotated[float | None, typer.Option(min=0, help="Bought products come back after so many days.")]
ReturnInterval = Annotated[
    float | None, typer.Option(min=0, help="They come back after so many of their usual intervals.")
]

ReturnHalfLife = Annotated[
    float | None, typer.Option(min=0.001, help="They come back little by little: half after so many days.")
]


def shape(**wishes: object) -> "ListShape":
    """What a command line asks of a list; what is None was not asked for.

    Raises:
        UsageError: the wishes make no sense.
    """
    from pydantic import ValidationError

    from recsys.engine.policy import ListShape

    try:
        return ListShape.model_validate({name: value for name, value in wishes.items() if value is not None})
    except ValidationError as error:
        raise UsageError(
            error.errors()[0]["msg"], expected="a list that can be made", action="see recsys recommend --help"
        ) from None


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
