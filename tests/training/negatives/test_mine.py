"""Mining over small catalogues: nothing that is right, the same whatever the chunks, on from where it was killed."""

from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.catalogue import Catalogue
from recsys.models.encode import encode_texts
from recsys.models.text_encoder import TextEncoder
from recsys.testing.tiny import tiny_backbone
from recsys.text.tokenizer import TextTokenizer
from training.negatives import mine as mining
from training.negatives.config import MiningConfig
from training.negatives.known import Known
from training.negatives.mine import Asked, mine
from training.negatives.twins import twin_numbers

COLOURS, KINDS = ("blue", "red", "green", "black"), ("sofa", "lamp", "desk", "chair")
QUERIES = [f"{colour} {kind}" for colour in COLOURS for kind in KINDS[:3]]


def catalogue_of(titles: Sequence[str], groups: Sequence[str | None] | None = None) -> Catalogue:
    frame = pl.DataFrame({"position": range(len(titles)), "title": list(titles)})
    ids = [f"p{position:06}" for position in range(len(titles))]
    given = pl.Series("group_id", groups or [None] * len(titles), dtype=pl.String)
    return Catalogue(frame.with_columns(given, pl.Series("product_id", ids)))


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    """48 products; numbers 32 to 47 repeat the first 16 titles in capitals."""
    titles = [f"{colour} {kind} {size}" for size in ("small", "large") for colour in COLOURS for kind in KINDS]
    return catalogue_of([*titles, *(title.upper() for title in titles[:16])])


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "backbone"
    return tiny_backbone(folder, seed=0, words=[*COLOURS, *KINDS, "small", "large"])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keeps the indexes of all examples."""
    return tmp_path_factory.mktemp("mining")


def asked_of(catalogue: Catalogue, pairs: set[tuple[int, int]], *, also: set[tuple[int, int]] = frozenset()) -> Asked:  # type: ignore[assignment]
    query, position = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2).T
    right = np.array(sorted(pairs | also), dtype=np.int64).reshape(-1, 2)
    twin = twin_numbers(catalogue)
    known = Known.of(right[:, 0], twin[right[:, 1]], twins=len(catalogue))
    return Asked(QUERIES, query.copy(), position.copy(), twin, known)


EVERY = {(query, (query * 5) % 48) for query in range(len(QUERIES))} | {
    (query, query + 20) for query in range(0, 12, 2)
}
PAIRS = st.sets(st.tuples(st.integers(0, len(QUERIES) - 1), st.integers(0, 47)), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("titles", "groups", "expected"),
    [
        (["Sofa", "sofa ", "lamp"], [None, None, None], [0, 0, 1]),
        (["a", "b", "c", "d"], ["g", None, "g", ""], [0, 1, 0, 2]),
        (["a", "a", "b", "c"], [None, "g", "g", None], [0, 0, 0, 1]),
        (["", "", "a"], [None, None, None], [0, 1, 2]),
    ],
)
def test_twins_by_hand(titles: list[str], groups: list[str | None], expected: list[int]) -> None:
    assert twin_numbers(catalogue_of(titles, groups)).tolist() == expected


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=PAIRS, also=PAIRS, seed=st.integers(0, 3), margin=st.sampled_from([None, 0.05]))
def test_nothing_that_is_right_is_mined(
    pairs: set[tuple[int, int]],
    also: set[tuple[int, int]],
    seed: int,
    margin: float | None,
    catalogue: Catalogue,
    encoder: Path,
    place: Path,
) -> None:
    """Neither a judged product nor one with its title; each at most once for a pair, and no more than asked for."""
    asked = asked_of(catalogue, pairs, also=also)
    config = MiningConfig(negatives=4, range_max=30, relative_margin=margin)
    found = mine(asked, catalogue, encoder=encoder, config=config, seed=seed, folder=place)
    titles = [title.casefold() for title in catalogue.column("title")]
    right = {(query, titles[position]) for query, position in pairs | also}
    for pair, negative in found.select("pair", "negative").iter_rows():
        assert (int(asked.query[pair]), titles[negative]) not in right
    assert found.select("pair", "negative").is_unique().all()
    assert found["pair"].is_sorted()
    assert found.group_by("pair").len()["len"].max() in (None, 1, 2, 3, 4)


def test_cosines_and_margins_are_those_of_the_encoder(catalogue: Catalogue, encoder: Path, tmp_path: Path) -> None:
    asked = asked_of(catalogue, EVERY)
    config = MiningConfig(negatives=5, relative_margin=None, absolute_margin=0.02)
    found = mine(asked, catalogue, encoder=encoder, config=config, seed=0, folder=tmp_path, precision="fp32")
    network, tokenizer = TextEncoder.load(encoder), TextTokenizer.load(encoder)
    queries = encode_texts(network, tokenizer, QUERIES, precision="fp32")
    cosines = queries @ encode_texts(network, tokenizer, catalogue.texts(), precision="fp32").T
    assert len(found)
    for pair, negative, cosine in found.select("pair", "negative", "cosine").iter_rows():
        query, position = asked.query[pair], asked.position[pair]
        assert cosine == pytest.approx(cosines[query, negative], abs=2e-2)
        assert cosine <= cosines[query, position] - 0.02 + 2e-2


def test_top_takes_the_best_ranked_behind_the_first(catalogue: Catalogue, encoder: Path, tmp_path: Path) -> None:
    """By brute force over all cosines."""
    asked = asked_of(catalogue, {(0, 7), (1, 1)})
    config = MiningConfig(
        negatives=3, miners=("encoder",), range_min=2, range_max=20, relative_margin=None, sampling="top"
    )
    found = mine(asked, catalogue, encoder=encoder, config=config, seed=0, folder=tmp_path)
    vectors = np.load(next(tmp_path.glob("vectors-*")) / "vectors.npy")
    rows = np.load(next(tmp_path.glob("vectors-*")) / "rows.npy")
    queries = encode_texts(TextEncoder.load(encoder), TextTokenizer.load(encoder), QUERIES)
    for pair in (0, 1):
        cosines = (vectors[rows] @ queries[asked.query[pair]]).astype(np.float32)
        ranked = np.lexsort((np.arange(48), -cosines))[2:20]
        right = ~asked.known.holds(asked.query[pair], asked.twin[ranked])
        assert found.filter(pl.col("pair") == pair)["negative"].to_list() == ranked[right][:3].tolist()


@pytest.mark.parametrize("miners", [("bm25",), ("encoder",), ("bm25", "encoder")])
@pytest.mark.parametrize("chunk", [1, 5, 12, 100])
def test_chunks_of_any_size_bring_the_same(
    catalogue: Catalogue, encoder: Path, tmp_path: Path, miners: tuple[str, ...], chunk: int
) -> None:
    asked, config = asked_of(catalogue, EVERY), MiningConfig(negatives=4, miners=miners, relative_margin=0.01)
    whole, parts = (
        mine(asked, catalogue, encoder=encoder, config=config, seed=3, folder=tmp_path, chunk=size)
        for size in (256, chunk)
    )
    assert len(whole)
    assert whole.equals(parts)


def test_the_seed_decides(catalogue: Catalogue, encoder: Path, place: Path, tmp_path: Path) -> None:
    asked, config = asked_of(catalogue, EVERY), MiningConfig(negatives=3, relative_margin=None)
    first, again, other = (
        mine(asked, catalogue, encoder=encoder, config=config, seed=seed, folder=folder)
        for seed, folder in ((0, place), (0, tmp_path), (1, place))
    )
    assert first.equals(again)
    assert not first.equals(other)


def test_a_killed_mining_goes_on(catalogue: Catalogue, encoder: Path, tmp_path: Path) -> None:
    asked, config = asked_of(catalogue, EVERY), MiningConfig(negatives=3, relative_margin=None)
    real, seen = mining.mine_chunk, []

    def dying(task: mining.Mining, *, start: int, stop: int) -> pl.DataFrame:
        seen.append(start)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(task, start=start, stop=stop)

    def again() -> pl.DataFrame:
        return mine(asked, catalogue, encoder=encoder, config=config, seed=0, folder=tmp_path / "one", chunk=4)

    with patch.object(mining, "mine_chunk", dying):
        with pytest.raises(KeyboardInterrupt):
            again()
        found = again()
    assert seen == [0, 4, 8, 8]
    with patch.object(mining, "open_searchers", side_effect=AssertionError("all is there")):
        assert again().equals(found)
    assert found.equals(
        mine(asked, catalogue, encoder=encoder, config=config, seed=0, folder=tmp_path / "two", chunk=4)
    )


def test_the_judge_refuses_what_is_relevant_and_its_view_is_kept(
    catalogue: Catalogue, encoder: Path, place: Path
) -> None:
    """A judge that finds every second product relevant leaves the others."""
    asked = asked_of(catalogue, EVERY)

    def judge(texts: Sequence[str], positions: np.ndarray) -> np.ndarray:
        assert all(text in QUERIES for text in texts)
        return np.where(positions % 2 == 0, 0.9, positions / 100).astype(np.float32)

    config = MiningConfig(negatives=3, relative_margin=None, max_relevance=0.5)
    found = mine(asked, catalogue, encoder=encoder, config=config, seed=0, folder=place, judge=judge)
    assert (found["negative"] % 2 == 1).all()
    assert found["relevance"].to_list() == pytest.approx((found["negative"] / 100).to_list())
    own = judge([QUERIES[0]] * len(found), asked.position[found["pair"].to_numpy()])
    assert found["own_relevance"].to_list() == pytest.approx(own.tolist())
    assert found.group_by("pair").len()["len"].max() == 3


def test_without_pairs_or_negatives_there_is_nothing(catalogue: Catalogue, encoder: Path, tmp_path: Path) -> None:
    none = mine(asked_of(catalogue, EVERY), catalogue, encoder=encoder, config=MiningConfig(), seed=0, folder=tmp_path)
    assert none.is_empty()
    assert none.columns == ["pair", "negative", "cosine", "relevance", "own_relevance"]
    assert not list(tmp_path.iterdir())
