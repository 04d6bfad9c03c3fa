"""The products table, made in chunks from the hidden codes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_store.sources.sample import draws, phrases, words
from feature_store.sources.sample.draws import Keys, Reals
from feature_store.sources.sample.pictures import picture_paths
from feature_store.sources.sample.world import DAYS, START, ProductCodes, World, product_codes, product_ids

SCHEMA = pl.Schema(
    [
        ("product_id", pl.String()),
        ("title", pl.String()),
        ("description", pl.String()),
        ("brand", pl.String()),
        ("category", pl.String()),
        ("price", pl.Float64()),
        ("currency", pl.String()),
        ("in_stock", pl.Boolean()),
        ("attributes", pl.String()),
        ("group_id", pl.String()),
        ("rating", pl.Float64()),
        ("rating_count", pl.Int64()),
        ("locale", pl.String()),
        ("available_from", pl.Datetime("us", "UTC")),
    ]
)
DAY = 86_400_000_000
TITLES: tuple[str, ...] = (
    "{brand} {line} {material} {noun}, {colour} {size}",
    "{line} {noun} in {material}, {size} {colour}",
    "{brand} {noun} {line} {size} {colour}",
    "{brand} {line} {material} {size} {colour}",
)


def product_frame(world: World, rows: Keys) -> pl.DataFrame:
    """The products in the given rows, in the columns of SCHEMA."""
    codes = product_codes(world, rows)
    names = named(world, told(world, codes, rows))
    frame = names.select(
        product_id=pl.Series(product_ids(world, rows)),
        title=title(world, codes),
        description=description(world, codes, rows),
        brand="brand",
        category=pl.concat_str("department", pl.lit(" > "), "leaf"),
        price=pl.Series(codes.price.astype(np.float64)).round(2),
        currency=pl.lit(words.CURRENCY),
        in_stock=pl.Series(draws.chance(0.93, rows, seed=world.seed, stream="stock")),
        attributes=attributes(),
        group_id=pl.Series(codes.group).cast(pl.String).str.zfill(7).str.replace("^", "G"),
        locale=pl.lit("en"),
        image_url=pl.Series(picture_paths(world, rows), dtype=pl.String),
        available_from=pl.lit(START) + pl.Series(codes.launch.astype(np.int64) * DAY).cast(pl.Duration("us")),
    )
    schema = schema_of(world)
    return frame.with_columns(ratings(world, codes, rows)).select(schema.names()).cast(schema)


def schema_of(world: World) -> pl.Schema:
    """The columns of a shop's products: SCHEMA, and image_url where there are pictures."""
    return pl.Schema({**SCHEMA, "image_url": pl.String()}) if world.pictures else SCHEMA


def told(world: World, codes: ProductCodes, rows: Keys) -> ProductCodes:
    """The codes as a product's words tell them: some leave the colour out."""
    hidden = draws.chance(world.hidden, rows, seed=world.seed, stream="hidden colour")
    return replace(codes, colour=np.where(hidden, -1, codes.colour).astype(np.int8))


def named(world: World, codes: ProductCodes) -> pl.DataFrame:
    """The words of each product's codes."""
    kinds = codes.kind.astype(np.int64)
    material = flat([words.MATERIALS[kind.material] for kind in words.KINDS])
    size = flat([words.SIZES[kind.size] for kind in words.KINDS])
    return pl.DataFrame(
        {
            "noun": look_up([kind.noun for kind in words.KINDS], kinds),
            "leaf": look_up([kind.leaf for kind in words.KINDS], kinds),
            "department": look_up([kind.department for kind in words.KINDS], kinds),
            "brand": look_up(words.BRANDS, codes.brand),
            "style": look_up(words.STYLES, codes.style),
            "material": look_up(material, kinds * 4 + codes.material),
            "size": look_up(size, kinds * 4 + codes.size),
            "colour": look_up([*words.COLOURS, ""], codes.colour),
            "line": lines(world, codes.group.astype(np.int64)),
        }
    )


def flat(table: Sequence[Sequence[str]]) -> list[str]:
    """The rows of a table of words, one behind the other."""
    return [word for row in table for word in row]


def look_up(table: Sequence[str], codes: NDArray[np.integer[Any]]) -> pl.Series:
    """The table's words at the codes; -1 is the last word."""
    return pl.Series(table, dtype=pl.String).gather(codes.astype(np.int64) % len(table))


def lines(world: World, groups: Keys) -> pl.Series:
    """Made-up names of model lines, one for each group."""
    parts = [
        look_up(
            words.SYLLABLES, draws.whole(groups, below=len(words.SYLLABLES), seed=world.seed, stream=f"line/{part}")
        )
        for part in range(3)
    ]
    return pl.select(pl.concat_str(*parts).str.to_titlecase()).to_series()


def title(world: World, codes: ProductCodes) -> pl.Expr:
    """One of four forms for each group; the last does not say what it is."""
    share = draws.uniform(codes.group.astype(np.int64), seed=world.seed, stream="title")
    form = pl.Series(np.searchsorted([0.45, 0.7, 0.88], share, side="right"))
    forms = [filled(template) for template in TITLES]
    chosen = pl.when(form == 0).then(forms[0]).when(form == 1).then(forms[1]).when(form == 2).then(forms[2])
    return chosen.otherwise(forms[3]).str.strip_chars(" ,").str.replace_all("  ", " ")


def filled(template: str) -> pl.Expr:
    """A template with {column} marks as an expression."""
    pieces: list[pl.Expr] = []
    for part in template.split("{"):
        name, mark, rest = part.partition("}")
        pieces += [pl.col(name), pl.lit(rest)] if mark else [pl.lit(part)]
    return pl.concat_str(pieces)


def description(world: World, codes: ProductCodes, rows: Keys) -> pl.Expr:
    """Four sentences, drawn for each group; variants differ in the last alone."""
    group, seed = codes.group.astype(np.int64), world.seed
    kinds, nouns = codes.kind.astype(np.int64), [kind.noun for kind in words.KINDS]
    materials = flat([words.MATERIALS[kind.material] for kind in words.KINDS])
    other = world.kinds[draws.whole(group, below=len(world.kinds), seed=seed, stream="other")]

    def share(stream: str) -> Reals:
        return draws.uniform(group, seed=seed, stream=stream)

    last = draws.uniform(rows, seed=seed, stream="closer")
    stuff = kinds * 4 + codes.material
    look = sentence(phrases.STYLE_LINES, "style", words.STYLES, codes.style.astype(np.int64), share("look"))
    pairing = sentence(phrases.PAIRING_LINES, "other", nouns, other, share("pairing"))
    sentences = [
        sentence(phrases.OPENERS, "noun", nouns, kinds, share("opener")),
        sentence(phrases.MATERIAL_LINES, "material", materials, stuff, share("material line")),
        pl.select(pl.when(pl.Series(share("turn") < 0.5)).then(look).otherwise(pairing)).to_series(),
        sentence(phrases.CLOSERS, "none", [""], np.zeros_like(rows), last),
    ]
    return pl.concat_str(sentences, separator=" ")


def sentence(forms: Sequence[str], mark: str, table: Sequence[str], codes: Keys, share: Reals) -> pl.Series:
    """For each row the form that `share` in [0, 1) points at, with the table's word at the code."""
    ready = [form.replace("{" + mark + "}", word) for form in forms for word in table]
    ready = [text[0].upper() + text[1:] for text in ready]
    return look_up(ready, np.floor(share * len(forms)).astype(np.int64) * len(table) + codes)


def attributes() -> pl.Expr:
    """The attributes as one JSON text; a kind without colours has no such key."""
    tail = filled('"material": "{material}", "size": "{size}", "style": "{style}"')
    colour = pl.when(pl.col("colour") == "").then(pl.lit("")).otherwise(filled('"colour": "{colour}", '))
    return pl.concat_str(pl.lit("{"), colour, tail, pl.lit("}"))


def ratings(world: World, codes: ProductCodes, rows: Keys) -> list[pl.Series]:
    """Average stars, better for better products, and how many people gave them."""
    noise = draws.normal(rows, seed=world.seed, stream="rating")
    stars = np.clip(3.9 + 0.4 * codes.quality + 0.25 * noise, 1.0, 5.0)
    age = np.clip(DAYS - codes.launch, 0.0, None) / 30.0
    count = np.floor(age * np.exp(0.8 * codes.quality) * draws.uniform(rows, seed=world.seed, stream="raters"))
    return [pl.Series("rating", np.round(stars, 1)), pl.Series("rating_count", count.astype(np.int64))]
