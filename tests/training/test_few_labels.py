"""Few labels, several members, and learning on without forgetting."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store.snapshot import Snapshot, build_snapshot
from recsys.bundle.read import Bundle
from recsys.models.backbone import load_backbone
from recsys.models.cross_encoder import CrossEncoder
from recsys.models.encode import infer
from recsys.models.ensemble import member_folders
from recsys.text.normalise import normalise
from recsys.text.tokenizer import TextTokenizer
from tests.command import recsys
from tests.shops import COLOURS, small_tables, write_shop
from tests.training.commands import options
from training.relevance.config import RelevanceConfig
from training.relevance.data import read_pairs
from training.relevance.fewshot import sample_queries
from training.relevance.learn import learn
from training.relevance.members import learn_members
from training.relevance.module import mean_ndcg
from training.relevance.replay import Past, new_since
from training.relevance.sources import Reader, Sources

SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)


def judged(queries: list[str], *, each: int = 2) -> pl.DataFrame:
    rows = [(query, f"p{number}", float(number)) for query in queries for number in range(each)]
    return pl.DataFrame(rows, schema=["query", "product_id", "grade"], orient="row")


@given(count=st.integers(1, 120), seed=st.integers(0, 5))
def test_shares_are_whole_queries_and_nested(count: int, seed: int) -> None:
    judgments = judged([f"query {number}" for number in range(count)])
    before: set[str] = set()
    for share in SHARES:
        found = sample_queries(judgments, share=share, seed=seed)
        kept = set(found["query"])
        assert before <= kept
        assert len(kept) == -(-round(share * 100) * count // 100)
        assert len(found) == 2 * len(kept)
        assert found.equals(judgments.filter(pl.col("query").is_in(list(kept))))
        before = kept


def test_another_seed_draws_others_and_spellings_stay_together() -> None:
    judgments = judged([f"query {number}" for number in range(40)] + [f"QUERY  {number}" for number in range(40)])
    draws = [sample_queries(judgments, share=0.2, seed=seed) for seed in (0, 1)]
    assert set(draws[0]["query"]) != set(draws[1]["query"])
    for draw in draws:
        plain = {normalise(query) for query in draw["query"]}
        assert len(plain) == 8
        assert draw["query"].n_unique() == 16


def config_of(backbone: Path, **values: object) -> RelevanceConfig:
    given = {"precision": "fp32", "max_length": 24, "freeze_embeddings": False, "backbone": str(backbone)}
    return RelevanceConfig.model_validate(given | values)


def test_members_are_the_runs_of_their_seeds(small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path) -> None:
    config = config_of(tiny_backbone, members=2, seed=5, epochs=2, batch_size=16)
    tokenizer = TextTokenizer.load(tiny_backbone)
    train, validation = (
        read_pairs(small_snapshot, part, tokenizer=tokenizer, config=config) for part in ("train", "validation")
    )
    assert train is not None
    assert validation is not None
    found = learn_members(train, validation, config=config, start=tiny_backbone, work=tmp_path / "members")
    alone = [
        learn(
            train,
            validation,
            config=config_of(tiny_backbone, seed=seed, epochs=2, batch_size=16),
            start=tiny_backbone,
            work=tmp_path / str(seed),
        )
        for seed in (5, 6)
    ]
    for one, other in zip(found.learned, alone, strict=True):
        mine, theirs = one.network.state_dict(), other.network.state_dict()
        assert all(mine[name].equal(theirs[name]) for name in mine)
    logits = [infer(one.network, tokenizer, validation.tokens, precision="fp32") for one in alone]
    wanted = mean_ndcg(validation.queries, validation.grades, np.mean(logits, axis=0))
    measured = found.measured(validation, precision="fp32")
    assert measured["validation/ndcg@10"] == pytest.approx(wanted, abs=1e-6)
    assert measured["validation/member.ndcg@10"] == pytest.approx(np.mean([one.result.best_score for one in alone]))
    found.save(tmp_path / "saved")
    for place, one in zip(member_folders(tmp_path / "saved"), alone, strict=True):
        again = infer(CrossEncoder.load(place), TextTokenizer.load(place), validation.tokens, precision="fp32")
        assert again.tolist() == infer(one.network, tokenizer, validation.tokens, precision="fp32").tolist()


@pytest.fixture(scope="module")
def grown(small_snapshot: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The small shop a day later: three grades changed, four more queries asked."""
    tables = small_tables()
    more = pl.DataFrame(
        [
            {"query_id": f"x{number}", "query": f"{colour} room"}
            for number, colour in enumerate(("blue", "red", "green", "black"))
        ]
    )
    rows = [
        {"query_id": f"x{q}", "product_id": f"p{p:02d}", "grade": 3.0 * (p % 4 == q)}
        for q in range(4)
        for p in range(12)
    ]
    tables["queries"] = pl.concat([tables["queries"], more])
    tables["judgments"] = pl.concat([tables["judgments"], pl.DataFrame(rows)])
    folder = tmp_path_factory.mktemp("grown")
    shop = write_shop(folder / "shop", tables, toml='name = "small"\n[judgments]\nmax_grade = 3\n')
    return build_snapshot(shop, out=folder / "snapshot")


def test_new_is_what_does_not_stand_in_the_past() -> None:
    past = judged(["Red  sofa", "lamp"])
    now = pl.concat([judged(["red sofa", "desk"]), judged(["lamp"]).with_columns(pl.col("grade") + 1.0)])
    found = new_since(now, past)
    assert set(found["query"]) == {"desk", "lamp"}
    assert found.columns == now.columns
    assert new_since(past, past).is_empty()
    assert new_since(now, past.clear()).equals(now)


def test_replay_adds_a_share_of_the_past_and_nothing_held_out(
    small_snapshot: Snapshot, grown: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    past = Past(small_snapshot, ("train", "validation"))
    held_out = {normalise(query) for query in grown.judgments("validation", "test")["query"]}
    new = new_since(grown.judgments("train"), past.judgments())
    assert 0 < len(new) < len(grown.judgments("train"))
    old = past.judgments().filter([normalise(query) not in held_out for query in past.judgments()["query"]])
    counts = []
    for share in (0.0, 0.5, 1.0):
        config = config_of(tiny_backbone, replay=share)
        reader = Reader(grown, Sources(past=past), TextTokenizer.load(tiny_backbone), config, tmp_path)
        pairs = reader.pairs("train")
        assert pairs is not None
        counts.append(len(pairs) - len(new))
        for _, judgments in reader.replayed():
            assert not {normalise(query) for query in judgments["query"]} & held_out
    assert counts[0] == 0
    assert 0 < counts[1] < counts[2] == len(old)
    assert Past(small_snapshot, ()).judgments().is_empty()


def run(capsys: pytest.CaptureFixture[str], snapshot: Snapshot, backbone: Path, *more: Any) -> Any:
    settings = [one for one in more if isinstance(one, str) and "=" in one and not one.startswith("models:")]
    others = [one for one in more if one not in settings]
    done = recsys(capsys, "train", "relevance", snapshot.path, *options(backbone, *settings), *others, "--json")
    assert done.code == 0, done.err
    return done.report


def test_learning_on_by_the_command(
    small_snapshot: Snapshot,
    grown: Snapshot,
    tiny_backbone: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The model's own snapshot is found by name or by folder; the bundle says what was replayed."""
    first = run(capsys, small_snapshot, tiny_backbone, "epochs=1")
    given = [
        "train",
        "relevance",
        grown.path,
        "--init",
        first["uri"],
        *options(tiny_backbone, "epochs=1", "replay=0.5"),
    ]
    lost = recsys(capsys, *given)
    assert lost.code == 1
    assert len(lost.lines) == 1
    assert "replay_from=FOLDER" in lost.err
    other = recsys(capsys, *given, "--set", f"replay_from={grown.path}")
    assert other.code == 2
    assert f"snapshot {small_snapshot.manifest.snapshot_id}" in other.err
    done = recsys(capsys, *given, "--set", f"replay_from={small_snapshot.path}", "-o", tmp_path / "on", "--json")
    assert done.code == 0, done.err
    component = Bundle.open(tmp_path / "on").manifest.components["cross_encoder"]
    assert component.config["replayed"] == small_snapshot.manifest.snapshot_id
    again = ["train", "relevance", grown.path, "--init", done.report["uri"], *options(tiny_backbone, "replay=0.5")]
    nothing = recsys(capsys, *again, "--set", f"replay_from={grown.path}")
    assert nothing.code == 1
    assert "no judgments that the model to start from has not learned" in nothing.err


def test_no_labels_by_the_command(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Zero-shot keeps the start's weights; with another shop's labels it learns those alone."""
    first = run(capsys, small_snapshot, tiny_backbone, "epochs=1", "-o", tmp_path / "first", "--no-refit")
    kept = run(capsys, small_snapshot, tiny_backbone, "label_share=0", "--init", first["uri"], "-o", tmp_path / "kept")
    assert kept["parts"] == []
    assert kept["metrics"]["validation/ndcg@10"] == pytest.approx(first["metrics"]["validation/ndcg@10"], abs=1e-6)
    before, after = (CrossEncoder.load(tmp_path / name / "cross_encoder").state_dict() for name in ("first", "kept"))
    assert all(before[name].equal(after[name]) for name in before)
    tables = small_tables()
    tables["queries"] = tables["queries"].with_columns(pl.col("query") + " nord")
    other = build_snapshot(write_shop(tmp_path / "shop", tables, toml='name = "other"\n'), out=tmp_path / "other")
    learned = run(
        capsys,
        small_snapshot,
        tiny_backbone,
        "label_share=0",
        "epochs=1",
        "--also",
        other.path,
        "-o",
        tmp_path / "also",
    )
    assert learned["parts"] == []
    component = Bundle.open(tmp_path / "also").manifest.components["cross_encoder"]
    assert component.config["best_epoch"] == 0  # none over the shop's own judgments
    stock, taught = load_backbone(tiny_backbone), CrossEncoder.load(tmp_path / "also" / "cross_encoder").backbone
    assert not all(value.equal(taught.state_dict()[name]) for name, value in stock.state_dict().items())


def test_replay_keeps_what_was_learned(tiny_backbone: Path, tmp_path: Path) -> None:
    """What holds for two colours is turned round for two others: the second alone wipes the first out."""
    config = config_of(tiny_backbone, epochs=45, learning_rate=0.01, batch_size=16, dropout=0.0, fields=("title",))
    shops = [
        contrary(tmp_path / "old", colours=("blue", "red"), turned=False),
        contrary(tmp_path / "new", colours=("green", "black"), turned=True),
    ]
    tokenizer = TextTokenizer.load(tiny_backbone)

    def score(folder: Path, shop: Snapshot) -> float:
        pairs = read_pairs(shop, "train", tokenizer=tokenizer, config=config)
        assert pairs is not None
        return mean_ndcg(
            pairs.queries, pairs.grades, infer(CrossEncoder.load(folder), tokenizer, pairs.tokens, precision="fp32")
        )

    old = read_pairs(shops[0], "train", tokenizer=tokenizer, config=config)
    assert old is not None
    learn(old, None, config=config, start=tiny_backbone, work=tmp_path / "a").save(tmp_path / "first")
    found = {}
    for share in (0.0, 1.0):
        settings = config.model_copy(update={"replay": share})
        reader = Reader(shops[1], Sources(past=Past(shops[0], ("train",))), tokenizer, settings, tmp_path)
        pairs = reader.pairs("train")
        assert pairs is not None
        learned = learn(pairs, None, config=settings, start=tmp_path / "first", work=tmp_path / f"b{share}")
        learned.save(tmp_path / f"second{share}")
        found[share] = [score(tmp_path / f"second{share}", shop) for shop in shops]
    first = score(tmp_path / "first", shops[0])
    assert first > 0.9
    assert found[0.0][0] < first - 0.1
    assert found[1.0][0] > first - 0.05
    assert min(found[0.0][1], found[1.0][1]) > 0.9


def contrary(folder: Path, *, colours: tuple[str, str], turned: bool) -> Snapshot:
    """Queries of two colours whose best products are those of the colour, or (turned) all but them."""
    tables = small_tables()
    asked = [f"{colour} {word}".strip() for colour in colours for word in ("", "for", "every", "room", "size")]
    tables["queries"] = pl.DataFrame([{"query_id": f"q{number}", "query": query} for number, query in enumerate(asked)])
    tables["judgments"] = pl.DataFrame(
        [
            {"query_id": f"q{number}", "product_id": f"p{p:02d}", "grade": 3.0 * ((COLOURS[p % 4] in query) != turned)}
            for number, query in enumerate(asked)
            for p in range(16)
        ]
    )
    tables.pop("events")
    shop = write_shop(folder / "shop", tables, toml=f'name = "{colours[0]}"\n[judgments]\nmax_grade = 3\n')
    return build_snapshot(shop, out=folder / "snapshot", split="query-folds")
