"""The order of a night's stages, what is trained when, and the gate, with children and registry played by fakes."""

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from feature_store.owner import claim_state
from recsys.bundle.recommenders import settings_digests
from recsys.errors import RegistryError, ShopError, SnapshotError, StorageError, UsageError
from recsys.settings import Settings
from recsys.storage import locked
from serving.learning import STAGES
from serving.nightly import run_nightly
from serving.report import show_blend
from tests.serving.fake_night import EVENING, Night, new_night


@pytest.fixture
def night(tmp_path: Path) -> Night:
    return new_night(tmp_path)


SOLD = ("popularity", "category-popularity", "trending", "repeat")
TOGETHER = ("bought-together", "item-knn", "als", "bpr")
LEARN = [f"train {name}" for name in ("retriever", "relevance", *SOLD, *TOGETHER, "two-tower")]
RECOMMENDERS = tuple(name.replace("-", "_") for name in (*SOLD, *TOGETHER, "two-tower"))


def shop_of(night: Night) -> str:
    return str(night.home / "shop")


def test_a_first_night_runs_every_stage_in_order(night: Night) -> None:
    report = night.run()
    shop = shop_of(night)
    assert night.calls() == [
        f"validate {shop}",
        f"doctor {shop}",
        f"features {shop}",
        *LEARN,
        "evaluate models:/sample.product-search/1",
        "evaluate models:/sample.recommender/1",
        f"index {shop}",
        "batch run",
        "batch verify",
    ]
    index = night.home / "indexes" / "sample" / "one"
    assert f" --index {index} --histories g1 --shop sample " in night.lines()[-2]
    assert night.steps.taken == ["product-search", "recommender"]
    assert report["trained"] == [line.removeprefix("train ") for line in LEARN]
    assert report["batch"] == {"night": "2024-03-01", "rows": 7}
    assert night.shelf.measured["models:/sample.recommender/1"] == {"gain_over_popularity_low": 0.1}
    assert [one["stage"] for one in report["stages"]][:3] == ["validate", "doctor", "features"]


def test_the_same_night_again_does_not_learn_or_index_again(night: Night) -> None:
    night.run()
    night.shelf.bundles["ps1"] = dict.fromkeys(("text_encoder", "cross_encoder"), "s1")
    night.shelf.bundles["re1"] = dict.fromkeys((*RECOMMENDERS, "recommend_blender"), "s1")
    report = night.run()
    assert night.calls() == ["batch run", "batch verify"]
    assert report["trained"] == []
    assert {one["stage"] for one in report["stages"] if one["resumed"]} == {"validate", "doctor", "features", "index"}
    assert {told["step"] for told in report["models"].values()} == {"none"}


def test_a_night_begins_with_what_the_event_log_took(night: Night) -> None:
    assert night.run()["events"] is None
    (night.home / "events" / "sample").mkdir(parents=True)
    (night.home / "events" / "sample" / "log.db").touch()
    for _ in range(2):  # it runs every night
        report = night.run()
        assert night.calls()[0] == "events compact"
        assert report["stages"][0]["stage"] == "compact"
        assert report["events"] is not None


def test_a_night_ends_with_the_online_features_where_the_shop_asks_for_them(night: Night) -> None:
    assert night.run()["online"] is None
    (night.home / "shop" / "shop.toml").write_text('name = "sample"\n[online]\nfeatures = true\n')
    for _ in range(2):  # it runs every night: what nobody publishes again vanishes
        report = night.run()
        assert night.lines()[-1] == f"table publish {shop_of(night)} --json"
        assert (report["stages"][-1]["stage"], report["online"] is not None) == ("publish", True)
    assert night.run(night=date(2024, 3, 1))["online"] is None, "what was known then is of no use now"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("indexes/sample/one/catalogue.parquet", "PAR"),
        ("indexes/sample/current.json", "{}"),
        ("online/sample/current", "g2"),
    ],
)
def test_an_index_that_is_damaged_or_no_longer_live_is_not_kept(night: Night, file: str, content: str) -> None:
    night.run()
    (night.home / file).write_text(content)
    night.run(train="never")
    assert f"index {shop_of(night)}" in night.calls()


@pytest.mark.parametrize(("age", "trained"), [(6.9, []), (7.0, ["als"])])
def test_a_stage_is_due_by_the_shops_own_clock(night: Night, age: float, trained: list[str]) -> None:
    night.run()
    night.shelf.bundles["ps1"] = {"text_encoder": "s2", "cross_encoder": "s2"}
    night.shelf.bundles["re1"] = dict.fromkeys((*RECOMMENDERS, "recommend_blender"), "s2") | {"als": "s1"}
    night.manifest(day=EVENING + timedelta(days=age), snapshot="s2")
    (night.home / "shop" / "changed").write_text("")
    assert night.run()["trained"] == trained


def test_a_stage_whose_snapshot_is_gone_is_due(night: Night) -> None:
    night.shelf.put("recommender", "champion", "re1", {"als": "gone"})
    assert night.run(only=("als",))["trained"] == ["als"]


@pytest.mark.parametrize(("train", "trained"), [("never", []), ("always", ["als"])])
def test_training_can_be_forced_or_forbidden(night: Night, train: Any, trained: list[str]) -> None:
    night.shelf.put("recommender", "champion", "re0", {"als": "s1"})
    night.shelf.put("product-search", "champion", "ps0", {})
    assert night.run(train=train, only=("als",))["trained"] == trained


def with_cross_encoder(night: Night) -> None:
    night.shelf.place = night.home
    night.shelf.put("recommender", "challenger", "re1", {"popularity": "s0"})
    (night.home / "cross_encoder").mkdir()
    (night.home / "cross_encoder" / "held_out.parquet").write_bytes(b"PAR1")
    night.shelf.put("product-search", "challenger", "ps1", {"text_encoder": "s1", "cross_encoder": "s1"})


def test_the_blender_is_fitted_last_on_the_scores_that_are_there(night: Night) -> None:
    with_cross_encoder(night)
    report = night.run()
    expected = ["retriever", "relevance", "calibration", "blender"]
    assert [name for name in report["trained"] if name in expected] == ["calibration", "blender"]
    assert report["skipped"] == {}
    everything = dict.fromkeys(("text_encoder", "cross_encoder", "calibration", "blender"), "s1")
    night.shelf.put("product-search", "champion", "ps1", everything)
    night.shelf.learned_over = {"cross_encoder": "s1", "text_encoder": "s1"}
    assert night.run(only=("calibration", "blender"))["trained"] == []
    night.shelf.learned_over = {"cross_encoder": "s1", "text_encoder": "s0"}
    assert night.run(only=("calibration", "blender"))["trained"] == ["blender"]


def test_a_stage_can_be_left_out(night: Night) -> None:
    with_cross_encoder(night)
    assert "blender" not in night.run(skip=("blender",))["trained"]
    assert not any(line.startswith("train blender") for line in night.lines())


@pytest.mark.parametrize("left_out", [STAGES[::2], STAGES[1::2]])
def test_each_stage_can_be_left_out(night: Night, left_out: tuple[str, ...]) -> None:
    with_cross_encoder(night)
    report = night.run(train="always", skip=left_out)
    assert report["trained"] == [stage for stage in STAGES if stage not in left_out]
    assert report["skipped"] == {}


def test_the_report_says_where_the_blend_goes_first(capsys: pytest.CaptureFixture[str]) -> None:
    interval = {"mean": 0.0213, "low": 0.0101, "high": 0.0325}
    common = {"metric": "ndcg@20", "users": 320, "best source": "item-knn", "sources": {"item-knn": 0.1, "text": 0.02}}
    show_blend(
        [
            common | {"table": "repeats-excluded", "on": True, "gain": interval, "blend": interval | {"mean": 0.1213}},
            common | {"table": "repeats-allowed", "on": False, "gain": None, "blend": None},
        ]
    )
    out = " ".join(capsys.readouterr().out.split())
    for piece in ("0.1213", "item-knn 0.1000", "+0.0213 [+0.0101, +0.0325]", "goes first", "off: no gain shown"):
        assert piece in out
    show_blend([])
    assert capsys.readouterr().out == ""


def test_there_is_nothing_to_blend_without_a_recommender(night: Night) -> None:
    skipped = night.run(only=("recommend-blender",))["skipped"]
    assert skipped == {"recommend-blender": "the model has no recommender yet"}


def test_recommenders_are_blended_after_all_of_them(night: Night) -> None:
    night.shelf.put("recommender", "challenger", "re1", {"popularity": "s0"})
    interval = {"mean": 0.02, "low": 0.01, "high": 0.03}
    table = {"table": "repeats-excluded", "on": True, "gain": interval}
    (night.home / "reports").mkdir()
    (night.home / "reports" / "recommend-blender").write_text(json.dumps({"stages": {"tables": [table]}}))
    report = night.run()
    learned = [line for line in night.calls() if line.startswith("train")]
    assert learned == [*LEARN, "train recommend-blender"]
    assert report["blend"] == [table]
    night.shelf.put("recommender", "challenger", "re1", dict.fromkeys((*RECOMMENDERS, "recommend_blender"), "s1"))
    assert night.run()["blend"] == []


@pytest.mark.parametrize(("before", "trained"), [({}, ["recommend-blender"]), (None, [])])
def test_a_blend_is_learned_again_where_a_recommender_has_other_settings(
    night: Night, before: dict[str, Any] | None, trained: list[str]
) -> None:
    """Else it would stay out until it is old enough: here the popularity under it was counted by other settings."""
    night.shelf.put("product-search", "challenger", "ps1", {"text_encoder": "s1", "cross_encoder": "s1"})
    night.shelf.put("recommender", "challenger", "re1", dict.fromkeys((*RECOMMENDERS, "recommend_blender"), "s1"))
    kept = night.shelf.fetch(night.shelf.find("recommender", shop="sample", alias="challenger"))
    night.shelf.blended = settings_digests(kept) | ({} if before is None else {"popularity": "another"})
    assert night.run()["trained"] == trained


def test_what_is_not_trained_has_a_named_reason(night: Night) -> None:
    night.tiers("relevance")
    skipped = night.run()["skipped"]
    assert skipped["blender"] == skipped["calibration"] == "the model has no cross-encoder yet"
    assert skipped["als"] == skipped["recommend-blender"] == "the shop's data does not reach the tier behavioural"
    with_cross_encoder(night)
    (night.home / "fails").mkdir()
    fault = {"type": "NothingToLearnError", "found": "3 queries", "expected": "10 or more", "action": "judge"}
    for stage in ("blender", "retriever"):
        (night.home / "fails" / stage).write_text(json.dumps({"error": fault}))
    report = night.run(train="always")
    assert report["skipped"]["retriever"] == "3 queries; it takes 10 or more"
    assert report["skipped"]["blender"] == "3 queries; it takes 10 or more"
    assert "calibration" in report["trained"]
    assert night.calls()[-2:] == ["batch run", "batch verify"]  # the night goes on
    fault["type"] = "SnapshotError"  # a damaged one
    (night.home / "fails" / "retriever").write_text(json.dumps({"error": fault}))
    with pytest.raises(SnapshotError, match="stage train-retriever: 3 queries"):
        night.run(train="always")


def test_settings_reach_their_stage_alone(night: Night) -> None:
    night.run(only=("als", "bpr"), options={"als": ("factors=8", "iterations=2")})
    lines = night.lines()
    snapshot = night.home / "snapshots" / "s1"
    assert f"train als {snapshot} --set factors=8 --set iterations=2 --json" in lines
    assert f"train bpr {snapshot} --json" in lines


def test_a_stage_learns_once_where_the_job_says_so(night: Night) -> None:
    night.run(only=("als", "bpr"), once=("bpr",))
    snapshot = night.home / "snapshots" / "s1"
    lines = night.lines()
    assert f"train als {snapshot} --json" in lines
    assert f"train bpr {snapshot} --no-refit --json" in lines


@pytest.mark.parametrize(
    ("anew", "days", "goes_on"),
    [(EVENING - timedelta(days=8), 28.0, True), (EVENING - timedelta(days=28), 28.0, False),
     (EVENING - timedelta(days=8), 0.0, False), (None, 28.0, False)],
)  # fmt: skip
def test_between_two_trainings_from_the_beginning_the_two_tower_goes_on(
    night: Night, anew: datetime | None, days: float, goes_on: bool
) -> None:
    night.shelf.put("recommender", "challenger", "re0", {"two_tower": "s0", "als": "s0"})
    night.shelf.anew = anew.isoformat() if anew else ""
    report = night.run(only=("two-tower", "als"), anew_days=days)
    learned = [line.split("s1")[1].strip() for line in night.lines() if line.startswith("train")]
    assert learned == ["--json", "--init base --json" if goes_on else "--json"]
    assert report["updated"] == (["two-tower"] if goes_on else [])
    assert report["trained"] == ["als", "two-tower"]


def test_a_model_that_does_not_fit_any_more_is_learned_anew(night: Night) -> None:
    """As after a change of settings: the first call is refused, the second begins from nothing."""
    night.shelf.put("recommender", "challenger", "re0", {"two_tower": "s0"})
    night.shelf.anew = EVENING.isoformat()
    child = night.home / "child.py"
    refusal = {"error": {"type": "UsageError", "found": "width = 64", "expected": "128", "action": "leave it out"}}
    refuses = f"""
if "--init" in sys.argv:
    print('{json.dumps(refusal)}')
    sys.exit(2)
"""
    child.write_text(child.read_text().replace("snapshot = home", refuses + "snapshot = home", 1))
    report = night.run(only=("two-tower",), anew_days=28.0)
    assert (report["updated"], report["trained"]) == ([], ["two-tower"])
    assert [line.count("--init") for line in night.lines() if line.startswith("train")] == [1, 0]


def test_an_existing_champion_is_never_replaced(night: Night) -> None:
    night.shelf.put("recommender", "champion", "re0", {})
    report = night.run(only=("als",))
    assert night.steps.taken == ["product-search"]
    told = report["models"]["recommender"]
    assert told["champion"] == "models:/sample.recommender/1"
    assert told["step"].startswith("the champion stays")
    assert set(told["measured"]) == {"challenger"}
    (asked,) = (line for line in night.lines() if line.startswith("evaluate models:/sample.recommender/"))
    assert "--against models:/sample.recommender/1" in asked


def test_without_bootstrap_the_night_ends_with_the_command_to_run(night: Night) -> None:
    (night.home / "shop" / "shop.toml").write_text('name = "sample"\n[promotion]\nbootstrap = false\n')
    with pytest.raises(RegistryError, match="recsys promote"):
        night.run()
    assert not any(call.startswith(("index", "batch")) for call in night.calls())


def test_a_search_model_below_its_baseline_leaves_the_stock_models(night: Night) -> None:
    night.measured(-0.01)
    night.shelf.put("recommender", "champion", "re0", {})
    report = night.run()
    assert report["models"]["product-search"]["step"].startswith("not promoted")
    assert report["models"]["product-search"]["champion"] is None
    assert night.steps.taken == []
    assert night.calls()[-2:] == ["batch run", "batch verify"]


def test_popularity_alone_goes_live_as_the_baseline_that_it_is(night: Night) -> None:
    night.tiers("lexical", "popularity")
    night.measured(0.0)
    night.shelf.put("recommender", "challenger", "re1", {"popularity": "s1"})
    told = night.run()["models"]["recommender"]
    assert (told["champion"], told["challenger"]) == ("models:/sample.recommender/1", None)
    assert night.steps.taken == ["models:/sample.recommender/1 by bootstrap: it is the baseline itself: gain 0"]
    assert night.shelf.measured["models:/sample.recommender/1"] == {"gain_over_popularity_low": 0.0}
    assert night.calls()[-2:] == ["batch run", "batch verify"]


def test_where_the_recommender_fails_the_newest_popularity_answers(night: Night) -> None:
    night.measured(-0.01)
    night.shelf.version("recommender", 2, digest="re2", components={"popularity": "s1"})
    night.shelf.version("recommender", 3, digest="re3", components={"popularity": "s1"})
    night.shelf.version("recommender", 4, digest="re4", components={"popularity": "s1"}).tags["status"] = "rejected"
    told = night.run()["models"]["recommender"]
    assert (told["champion"], told["challenger"]) == ("models:/sample.recommender/3", "models:/sample.recommender/1")
    assert told["gain_low"] == -0.01
    assert night.calls()[-2:] == ["batch run", "batch verify"]


def test_a_recommender_that_fails_leaves_search_its_fresh_index(night: Night) -> None:
    night.measured(-0.01)
    assert night.run()["models"]["recommender"]["step"].startswith("not promoted, no recommender answers")
    assert night.steps.taken == []
    assert f"index {shop_of(night)}" in night.calls()


def test_a_shop_without_users_has_no_batch(night: Night) -> None:
    night.manifest(users=0)
    night.tiers("lexical")
    night.shelf.aliases.pop(("recommender", "challenger"))
    assert night.run()["batch"] is None
    assert night.calls()[-1] == f"index {shop_of(night)}"


@pytest.mark.parametrize("day", ["2024-02-03", "0001-01-01", "9999-12-31"])
def test_the_date_bounds_what_is_known(day: str, night: Night) -> None:
    night.run(night=date.fromisoformat(day))
    lines = night.lines()
    end = f"--as-of {day}T23:59:59.999999+00:00 --json"
    assert all(line.endswith(end) for line in lines[:3])
    assert next(line for line in lines if line.startswith("index")).endswith(end)
    assert any(f"--date {day}" in line for line in lines)


def test_a_shop_without_calendar_wants_a_date(night: Night) -> None:
    (night.home / "shop" / "shop.toml").write_text('timestamps = "order"\n')
    settings = Settings(home=night.home, tracking_uri="sqlite:///x")
    with pytest.raises(UsageError, match="--date"):
        run_nightly(night.job(), settings=settings, announce=print)


def test_a_second_shop_without_a_name_is_refused_before_any_work(night: Night) -> None:
    (night.home / "shop" / "shop.toml").write_text("")
    settings = Settings(home=night.home, tracking_uri="sqlite:///x")
    claim_state(night.home / "first", name="", settings=settings)
    with pytest.raises(ShopError, match="set `name` in"):
        run_nightly(night.job(), settings=settings, announce=print)
    assert not (night.home / "nights").exists()


def test_two_nights_of_one_shop_are_kept_apart(night: Night) -> None:
    settings = Settings(home=night.home, tracking_uri="sqlite:///x")
    with (
        locked(settings.locks / "nightly-sample.lock", seconds=0),
        pytest.raises(StorageError, match="held by another process"),
    ):
        run_nightly(night.job(), settings=settings, announce=print)
