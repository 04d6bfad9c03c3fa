"""Updates: going on from a model with what is new since, on products and events that it did not know."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from feature_store.snapshot import Snapshot, build_snapshot
from recsys.bundle.manifest import RECOMMENDER, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.bundle.write import write_bundle
from recsys.errors import NothingToLearnError, UsageError
from recsys.models.two_tower import TwoTower
from recsys.models.two_tower_config import FIRST, UNKNOWN
from recsys.retrieval.product_codes import ProductCodes
from recsys.retrieval.two_tower import TwoTowerRecommender
from recsys.retrieval.vocabulary import catalogue_rows
from recsys.testing.recommender import histories_of
from tests.command import recsys
from training.metric_log import Silent
from training.two_tower.config import TwoTowerSettings
from training.two_tower.learn import learn
from training.two_tower.products import Products
from training.two_tower.sequences import Sequences, target_weights
from training.two_tower.start import Start
from training.two_tower.train import TwoTowerStage, train_component
from training.two_tower.update import Update, grown, update_weights

TINY = TwoTowerSettings(
    epochs=2, batch_size=16, patience=0, width=8, blocks=1, heads=1, length=8, negatives=16, precision="fp32",
    dropout=0.0, text=False, profile="sequence",
)  # fmt: skip


@pytest.fixture(scope="module")
def nights(small_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Snapshot]:
    """The small shop on two days; the training part of the second has a product that the first does not know."""
    folder = tmp_path_factory.mktemp("nights")
    return [
        build_snapshot(
            small_shop,
            out=folder / str(day),
            as_of=datetime(2025, 2, day, tzinfo=UTC),
            options={"test_days": "14", "validation_days": "14"},
        )
        for day in (10, 20)
    ]


def trained(snapshot: Snapshot, place: Path, *, start: Start | None = None, **changes: Any) -> Start:
    """A component learned on a snapshot, as something to go on from."""
    info = train_component(
        snapshot,
        catalogue=snapshot.catalogue(),
        text=changes.pop("text_vectors", None),
        config=TINY.model_copy(update=changes),
        folder=place / "two_tower",
        work=place / "work",
        run=Silent(),
        refit=changes.pop("refit", True),
        start=start,
    )
    return Start(place / "two_tower", info)


def bundle_of(start: Start, snapshot: Snapshot, out: Path, *, encoder: Path | None = None, shop: str = "") -> Bundle:
    components = {"two_tower": (start.folder, start.info)}
    if encoder is not None:
        components["text_encoder"] = (encoder, ComponentInfo(name="text_encoder"))
    return write_bundle(
        out,
        kind=RECOMMENDER,
        shop=shop or snapshot.manifest.shop,
        components=components,
        policy={"order": ["two-tower"]},
        snapshot=snapshot.manifest.snapshot_id,
        config={},
        catalogue=snapshot.path / "catalogue.parquet",
    )


def network(rows: int = 7, **changes: Any) -> TwoTower:
    torch.manual_seed(0)
    return TwoTower(replace(TINY.network(Products(rows)), **changes)).eval()


def test_the_same_products_are_the_same_network() -> None:
    before = network()
    after = grown(before, rows=np.arange(7))
    assert before.config == after.config
    for name, value in before.state_dict().items():
        assert torch.equal(value, after.state_dict()[name]), name


def test_old_products_keep_their_vectors_and_new_ones_begin_as_the_unknown() -> None:
    before = network(text_width=3, codes=(4,))
    text, codes = torch.randn(5, 3), torch.randint(0, 4, (5, 1))
    after = grown(before, rows=np.array([4, -1, 0, 6, -1]))
    rows = torch.tensor([4 + FIRST, UNKNOWN, FIRST, 6 + FIRST, UNKNOWN])
    torch.testing.assert_close(
        after.encode_products(torch.arange(5) + FIRST, text, codes),
        before.encode_products(rows, text, codes),
        rtol=0,
        atol=0,
    )
    assert after.config.rows == 5 + FIRST
    assert not after.products.identity.weight[0].any()


def two_users() -> Sequences:
    """One who comes back after day 3, one who does not, and one who is new."""
    return Sequences(
        offsets=np.array([0, 3, 6, 8]),
        rows=np.array([2, 3, 4, 3, 4, 5, 6, 7]),
        event_types=np.full(8, 6),
        timestamps=np.array([1, 2, 5, 1, 2, 3, 4, 4]),
        weights=np.ones(8, dtype=np.float32),
    )


def test_what_is_new_is_learned_and_a_share_of_the_users_again() -> None:
    own = two_users()
    weights = target_weights(own, repeats=True)
    assert update_weights(weights, own, since=3, replay=0.0, seed=0).tolist() == [0, 0, 1, 0, 0, 0, 1, 1]
    assert update_weights(weights, own, since=3, replay=1.0, seed=0).tolist() == [1] * 8
    drawn = {tuple(update_weights(weights, own, since=3, replay=0.5, seed=seed)[3:6]) for seed in range(20)}
    assert drawn == {(0.0, 0.0, 0.0), (1.0, 1.0, 1.0)}


@pytest.mark.parametrize(("since", "repeats"), [(5, True), (3, False)])
def test_nothing_new_is_one_clear_line(since: int, repeats: bool) -> None:
    """Later events that stand at the beginning of a history, or are what the user has, are nothing to predict."""
    own = two_users()
    if not repeats:
        own = replace(own, rows=np.array([2, 4, 4, 3, 4, 5, 6, 7]))
    weights = target_weights(own, repeats=repeats)
    with pytest.raises(NothingToLearnError, match="learned all that known users did until 1970-01-01T00:00:00"):
        update_weights(weights, own, since=since, replay=1.0, seed=0)


def test_an_update_with_everything_new_at_the_whole_rate_is_a_training_from_these_weights(tmp_path: Path) -> None:
    """Warm equals full where nothing is old: the same steps from the same weights."""
    own = two_users()
    config = TINY.model_copy(update={"repeats": True})
    begun = TwoTower(config.network(Products(6)))
    update = Update(grown(begun, rows=np.arange(6)), since=0)
    found, _ = learn(own, None, products=Products(6), config=config, work=tmp_path / "a", update=update)
    again = Update(grown(begun, rows=np.arange(6)), since=3)
    other, _ = learn(
        own,
        None,
        products=Products(6),
        config=config.model_copy(update={"replay": 1.0}),
        work=tmp_path / "b",
        update=again,
    )
    for name, value in found.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    assert not torch.equal(found.products.identity.weight, begun.products.identity.weight)


def test_a_night_goes_on_from_the_night_before(nights: list[Snapshot], tmp_path: Path) -> None:
    """The codes stay, new products get rows and are recommended, and the next night knows where to begin."""
    old, new = nights
    before = trained(old, tmp_path / "old", features=True)
    assert before.has_seen(new)
    after = trained(new, tmp_path / "new", start=before, features=True)
    assert after.until > before.until
    assert after.info.metrics == before.info.metrics
    assert after.info.config["learned_anew"] == before.info.config["learned_anew"]
    assert after.info.config["learning_rate"] == before.info.config["learning_rate"]
    assert after.info.config["best_epoch"] == TINY.update_epochs
    assert ProductCodes.load(after.folder) == ProductCodes.load(before.folder)
    catalogue = new.catalogue()
    fresh = np.flatnonzero(
        (catalogue_rows(after.folder, catalogue=catalogue) >= 0)
        & (catalogue_rows(before.folder, catalogue=catalogue) < 0)
    )
    assert len(fresh)
    recommender = TwoTowerRecommender.load(after.folder, catalogue=catalogue)
    listed = recommender.recommend(histories_of([[0, 1, 2]]), k=len(catalogue))[0].positions
    assert set(fresh.tolist()) <= set(listed.tolist())
    with pytest.raises(NothingToLearnError, match="nothing new follows"):
        trained(new, tmp_path / "again", start=after, features=True)


def test_a_model_that_has_not_seen_the_validation_part_chooses_its_epochs_there(
    nights: list[Snapshot], tmp_path: Path
) -> None:
    seen: list[int] = []

    class Log:
        def metrics(self, values: dict[str, float], *, step: int) -> None:
            seen.append(step)

    old, new = nights
    before = trained(old, tmp_path / "old")
    # As if it had learned the first weeks alone.
    earlier = replace(
        before, info=before.info.model_copy(update={"config": before.info.config | {"learned_until": early(new)}})
    )
    assert not earlier.has_seen(new)
    info = train_component(
        new,
        catalogue=new.catalogue(),
        text=None,
        config=TINY,
        folder=tmp_path / "new",
        work=tmp_path / "work",
        run=Log(),
        refit=True,
        start=earlier,
    )
    assert seen == list(range(1, TINY.update_epochs + 1))
    assert info.metrics.keys() == before.info.metrics.keys()
    assert info.parts == ["train", "validation"]


def early(snapshot: Snapshot) -> str:
    after = snapshot.manifest.split.validation_after
    assert after is not None
    return (after - timedelta(days=7)).isoformat()


def test_a_killed_update_goes_on_to_the_same_weights(nights: list[Snapshot], tmp_path: Path) -> None:
    old, new = nights
    before = trained(old, tmp_path / "old")
    whole = trained(new, tmp_path / "whole", start=before)
    place = tmp_path / "killed"

    class Killed(Exception):
        pass

    class Log:
        def metrics(self, values: dict[str, float], *, step: int) -> None:
            if step == 2:
                raise Killed

    with pytest.raises(Killed):
        train_component(
            new, catalogue=new.catalogue(), text=None, config=TINY, folder=place / "two_tower", work=place / "work",
            run=Log(), refit=True, start=before,
        )  # fmt: skip
    assert (place / "work" / "update" / "resume.ckpt").is_file()
    resumed = trained(new, place, start=before)
    one, other = (TwoTower.load(start.folder).state_dict() for start in (whole, resumed))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture(scope="module")
def old_bundle(nights: list[Snapshot], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    place = tmp_path_factory.mktemp("bundle")
    return bundle_of(trained(nights[0], place), nights[0], place / "bundle")


def ask(snapshot: Snapshot, bundle: Bundle, place: Path, **given: Any) -> ComponentInfo:
    """What `recsys train two-tower --base BUNDLE` does."""
    return TwoTowerStage().train(
        snapshot,
        config=TwoTowerSettings(**given),
        folder=place / "made",
        work=place / "work",
        run=Silent(),
        base=bundle,
        start=bundle.component("two_tower"),
        refit=True,
    )


def test_the_stage_goes_on_with_the_models_own_settings(
    nights: list[Snapshot], old_bundle: Bundle, tmp_path: Path
) -> None:
    info = ask(nights[1], old_bundle, tmp_path, update_epochs=1, width=8)
    assert info.config["update_epochs"] == 1
    assert {name: info.config[name] for name in ("width", "blocks", "length", "negatives", "text")} == {
        "width": 8, "blocks": 1, "length": 8, "negatives": 16, "text": False,
    }  # fmt: skip
    assert info.config["precision"] == "auto"


@pytest.mark.parametrize("given", [{"width": 16}, {"text": True}, {"profile": "baskets"}, {"user_attributes": True}])
def test_settings_that_contradict_the_model_are_refused(
    given: dict[str, Any], nights: list[Snapshot], old_bundle: Bundle, tmp_path: Path
) -> None:
    name, value = next(iter(given.items()))
    with pytest.raises(UsageError, match=f"{name} = {value} for a model that was trained with {name} = "):
        ask(nights[1], old_bundle, tmp_path, **given)


def test_a_shop_without_a_calendar_and_another_shop_are_refused(
    nights: list[Snapshot], ordered_snapshot: Snapshot, old_bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="split by leave-one-out"):
        ask(ordered_snapshot, old_bundle, tmp_path)
    other = bundle_of(
        Start(old_bundle.path / "two_tower", old_bundle.manifest.components["two_tower"].model_copy(
            update={"digest": ""})), nights[0], tmp_path / "other", shop="elsewhere",
    )  # fmt: skip
    with pytest.raises(UsageError, match="a two-tower of the shop 'elsewhere'"):
        ask(nights[1], other, tmp_path)


def test_a_model_that_does_not_say_until_when_is_refused(nights: list[Snapshot], tmp_path: Path) -> None:
    before = trained(nights[0], tmp_path)
    info = before.info.model_copy(update={"config": before.info.config | {"learned_until": ""}})
    bundle = bundle_of(replace(before, info=info), nights[0], tmp_path / "bundle")
    with pytest.raises(UsageError, match="does not say until when it has learned"):
        ask(nights[1], bundle, tmp_path)


def test_another_text_encoder_is_refused(nights: list[Snapshot], tmp_path: Path, tiny_backbone: Path) -> None:
    width = np.zeros((len(nights[0].catalogue()), 4), dtype=np.float32)
    before = trained(nights[0], tmp_path, text=True, text_vectors=width)
    own = bundle_of(before, nights[0], tmp_path / "own", encoder=tiny_backbone)
    bare = bundle_of(before, nights[0], tmp_path / "bare")
    start = Start.open(own.path / "two_tower", snapshot=nights[1])
    start.check_encoder(own)
    for base, found in ((bare, "no text encoder"), (None, "no text encoder")):
        with pytest.raises(UsageError, match=f"a base with {found}"):
            start.check_encoder(base)


def test_the_command_goes_on_and_says_where_nothing_is_new(
    nights: list[Snapshot], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = TINY.model_dump(exclude_unset=True, mode="json")
    settings = [part for name, value in plain.items() for part in ("--set", f"{name}={value}".lower())]
    old, new = (night.path for night in nights)
    assert recsys(capsys, "train", "two-tower", old, *settings, "--json").code == 0
    done = recsys(capsys, "train", "two-tower", new, "--init", "base", "--json", "-o", tmp_path / "bundle")
    assert done.code == 0, done.err
    config = Bundle.open(tmp_path / "bundle").manifest.components["two_tower"].config
    assert (config["width"], config["best_epoch"]) == (8, TINY.update_epochs)
    again = recsys(capsys, "train", "two-tower", new, "--init", "base", "--json")
    assert again.code == 1
    assert again.report["error"]["type"] == "NothingToLearnError"
    wider = recsys(capsys, "train", "two-tower", new, "--init", "base", "--set", "width=16")
    assert (wider.code, len(wider.lines)) == (2, 1), wider.err
