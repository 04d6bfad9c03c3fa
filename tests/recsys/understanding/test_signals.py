"""Signals by hand and by brute force over the rows of the shop."""

import numpy as np
import pytest

from recsys.catalogue import Catalogue
from recsys.meaning import SpanKind
from recsys.types import Positions, Scores
from recsys.understanding.reader import QueryReader
from recsys.understanding.signals import NAMES


def signal(reader: QueryReader, query: str, name: str, positions: Positions) -> Scores:
    return reader.signals(reader.read(query), positions)[name]


@pytest.fixture
def everything(shop: Catalogue) -> Positions:
    return np.arange(len(shop))


def test_all_signals_for_every_product_are_numbers_in_range(reader: QueryReader, everything: Positions) -> None:
    found = reader.signals(reader.read("blue halden velvet corner sofa 2 m"), everything)
    assert tuple(found) == NAMES
    for values in found.values():
        assert (values.dtype, values.shape) == (np.float32, everything.shape)
        assert not np.isnan(values).any()
        assert np.abs(values).max() <= 1


def test_what_is_not_asked_for_is_nan(reader: QueryReader, everything: Positions) -> None:
    found = reader.signals(reader.read("zebra"), everything)
    assert all(np.isnan(values).all() for values in found.values())


def test_the_brand_agrees_contradicts_or_is_unknown(
    reader: QueryReader, shop: Catalogue, everything: Positions
) -> None:
    confidence = reader.read("halden").of(SpanKind.BRAND)[0].confidence
    expected = [0.0 if one is None else confidence if one == "Halden" else -confidence for one in shop.frame["brand"]]
    np.testing.assert_allclose(signal(reader, "halden", "brand_match", everything), expected, rtol=1e-6)


def test_a_colour_agrees_with_its_shades(reader: QueryReader, shop: Catalogue, everything: Positions) -> None:
    signs = np.sign(signal(reader, "blue", "colour_match", everything))
    for sign, title in zip(signs, shop.frame["title"], strict=True):
        colourless = "pan" in title or "tea" in title  # green tea has no colour where attributes tell colours
        assert sign == (0 if colourless else 1 if "blue" in title.lower() else -1), title


def test_two_spans_are_averaged(reader: QueryReader, everything: Positions) -> None:
    both = signal(reader, "velvet linen", "attribute_match", everything)
    parts = [signal(reader, word, "attribute_match", everything) for word in ("velvet", "linen")]
    np.testing.assert_allclose(both, np.mean(parts, axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("query", "said", "against"),
    [
        ("sofa 200 cm", "sofa 2 m", ("3 m", "4 m", " cm")),  # a pan of 20 cm has another length
        ("pan 28 cm", "28 cm", ("20 cm", " m")),
        ("tea 3 pcs", "pack of 3", ()),
        ("tea 1000 g", "1 kg", ("2 kg",)),
    ],
)
def test_quantities(
    reader: QueryReader, shop: Catalogue, everything: Positions, query: str, said: str, against: tuple[str, ...]
) -> None:
    found = signal(reader, query, "quantity_match", everything)
    titles = [" ".join(title.split()[-6:]) for title in shop.frame["title"]]
    for value, title in zip(found, titles, strict=True):
        if said.removeprefix("sofa ") in title and ("sofa" not in said or "m" in title):
            assert value == 1, title
        elif any(one in title for one in against):
            assert value == -1, title
        else:
            assert value == 0, title


def test_the_category_counts_by_its_levels(reader: QueryReader, shop: Catalogue, everything: Positions) -> None:
    read = reader.read("corner sofa")
    chances = {share.path: share.probability for share in read.categories}
    found = signal(reader, "corner sofa", "category_match", everything)
    for value, path in zip(found, shop.frame["category"], strict=True):
        first = path.split(" > ")[0]
        assert value == pytest.approx((chances.get(first, 0) + chances.get(path, 0)) / 2, abs=1e-6)


def test_any_positions_in_any_order(reader: QueryReader, everything: Positions) -> None:
    some = np.array([7, 3, 120, 3])
    read = reader.read("blue halden sofa 2 m")
    whole, part = reader.signals(read, everything), reader.signals(read, some)
    for name in NAMES:
        np.testing.assert_array_equal(part[name], whole[name][some])
    assert all(len(values) == 0 for values in reader.signals(read, np.zeros(0, dtype=np.int64)).values())
