"""One folder, any text: opened as it was built, refused where it is torn, defined for catalogues of every size."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.catalogue import Catalogue
from recsys.errors import IndexMismatchError
from recsys.meaning import SpanKind
from recsys.understanding.reader import QueryReader
from tests.recsys.understanding.conftest import catalogue_of


@given(st.text(max_size=80))
def test_every_text_is_read(reader: QueryReader, query: str) -> None:
    read = reader.read(query)
    assert read.query == query
    for one in (*read.spans, *read.quantities):
        assert 0 <= one.start < one.end <= len(read.text)
    for one in read.corrections:
        assert 0 <= one.start < one.end <= len(query)
    json.dumps(read.as_json())
    reader.signals(read, np.arange(4))


def test_offsets_are_those_of_the_corrected_text(reader: QueryReader) -> None:
    read = reader.read("halddden  Blue sofa, 2 m")
    said = [read.text[one.start : one.end] for one in (*read.spans, *read.quantities)]
    assert said == ["halden", "Blue", "sofa", "2 m"]
    assert read.query[read.corrections[0].start : read.corrections[0].end] == "halddden"


def test_a_reader_opens_as_it_was_built(shop: Catalogue, tmp_path: Path) -> None:
    built = QueryReader.build(shop, tmp_path / "one")
    opened = QueryReader.open(tmp_path / "one")
    QueryReader.build(shop, tmp_path / "two")
    for query in ("velvte halden sofa 2 m", "green tea"):
        assert built.read(query) == opened.read(query)
    for path in sorted((tmp_path / "one").rglob("*.parquet")):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


@pytest.mark.parametrize("name", ["understanding.json", "gazetteer.parquet", "traits/facts.npy", "categories.npz"])
@pytest.mark.parametrize("torn", [b"", b"x", None])
def test_a_torn_folder_is_refused_in_one_line(shop: Catalogue, tmp_path: Path, name: str, torn: bytes | None) -> None:
    QueryReader.build(shop, tmp_path / "reader")
    path = tmp_path / "reader" / name
    path.unlink() if torn is None else path.write_bytes(torn)
    with pytest.raises(IndexMismatchError, match="holds no readable query understanding") as error:
        QueryReader.open(tmp_path / "reader")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("rows", [[], [{"title": "Sofa"}], [{"title": ""}, {"title": "?"}]])
def test_a_catalogue_of_little_or_nothing(rows: list[dict[str, object]], tmp_path: Path) -> None:
    reader = QueryReader.build(catalogue_of(rows), tmp_path / "reader")
    read = reader.read("blue sofa 2 m")
    assert set(reader.absent) == {"category", "brand", "attribute"}
    assert reader.parts == ("spelling", "quantities", "colour")
    assert read.absent == reader.absent
    found = reader.signals(read, np.arange(len(rows)))
    assert all(len(values) == len(rows) for values in found.values())


def test_a_catalogue_with_titles_alone_knows_colours(tmp_path: Path) -> None:
    bare = catalogue_of([{"title": f"{colour} mug"} for colour in ("Red", "Blue", "Red", "Grey")])
    frame = bare.frame.select("position", "product_id", "title")
    reader = QueryReader.build(Catalogue(frame), tmp_path / "reader")
    (span,) = reader.read("red mug").spans
    assert (span.kind, span.values) == (SpanKind.COLOUR, ("red",))
    assert np.sign(reader.signals(reader.read("red mug"), np.arange(4))["colour_match"]).tolist() == [1, -1, 1, -1]
