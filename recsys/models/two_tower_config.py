"""The shape of the two-tower recommender's network, and the embedding rows that have a meaning of their own."""

from dataclasses import dataclass
from typing import Literal

PADDING, UNKNOWN, FIRST = 0, 1, 2
"""Embedding rows: padding, any product without an own row, the first product of the vocabulary."""


@dataclass(frozen=True, slots=True)
class TwoTowerConfig:
    """The shape of the network.

    Attributes:
        rows: embedding rows, padding and unknown included.
        text_width: width of the text vectors; 0 leaves text out.
        codes: for each coded feature of a product (brand, category, price ...) the number of its codes, 0 for unknown
            included; none leaves them out.
        calendar: values that the calendar says of each product (what sells, what is new), read beside the vectors; each
            adds one number to them, with which the user's state is multiplied. 0 leaves them out.
        attributes: for each attribute of a user (segment, country ...) the number of its codes, 0 for unknown included;
            none leaves them out.
        clock: whether the user's vector knows the hour and the weekday of the moment that is asked for.
        hashed: rows of the id table that all products share; 0 gives each product its own.
        hashes: rows that a product's id is the sum of, where they are shared.
        width: width of product and user vectors without those of the calendar.
        blocks: transformer blocks of the user tower; 0 leaves a pooled bag of products.
        heads: attention heads; divides `width`.
        expansion: hidden width of the feed-forward layers, in multiples of `width`.
        length: how many of the latest events the user tower reads.
        dropout: share of activations dropped in training, 0 to 1.
        gated: whether a learned gate scales each residual branch.
        positions: whether the place in the history is embedded; False reads it as a set that grows.
        distances: whether attention knows how many events lie between two.
        spans: buckets of the time between two events that attention knows, each twice as long as the one before; 0
            leaves time out, as for shops without a calendar.
        distinct: whether a product is read once, where it first occurs, however often it comes back.
        pool: what stands for the user: the state behind the latest event, or the mean of all states so far.
        similarity: free inner product, or cosine divided by `temperature`.
        temperature: divisor of the cosine, above 0.
        learned_temperature: whether the temperature is learned from there on.
    """

    rows: int
    text_width: int = 0
    codes: tuple[int, ...] = ()
    calendar: int = 0
    attributes: tuple[int, ...] = ()
    clock: bool = False
    hashed: int = 0
    hashes: int = 2
    width: int = 128
    blocks: int = 2
    heads: int = 2
    expansion: int = 2
    length: int = 50
    dropout: float = 0.3
    gated: bool = False
    positions: bool = True
    distances: bool = False
    spans: int = 0
    distinct: bool = False
    pool: Literal["last", "mean"] = "last"
    similarity: Literal["inner", "cosine"] = "inner"
    temperature: float = 0.05
    learned_temperature: bool = False
