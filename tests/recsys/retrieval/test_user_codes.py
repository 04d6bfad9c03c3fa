"""Codes of users' attributes, and what the recommender makes of them."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from feature_store.histories import SnapshotHistories
from feature_store.snapshot import Snapshot
from recsys.engine.ladder import take
from recsys.engine.sessions import followed, rows_of
from recsys.errors import BundleError
from recsys.models.two_tower import TwoTower
from recsys.models.two_tower_config import FIRST, TwoTowerConfig
from recsys.retrieval.two_tower import TwoTowerRecommender, read_once
from recsys.retrieval.user_codes import MOST_ATTRIBUTES, MOST_VALUES, UserCodes
from recsys.testing.recommender import histories_of

GB, FR, PLAN = '{"country":"GB"}', '{"country":"FR"}', '{"attributes.plan":"gold","country":"GB"}'
WORDS = st.text("ab", max_size=2)


def test_codes_by_hand() -> None:
    codes = UserCodes.fit(["new", "", "loyal", "new", "loyal"], [GB, PLAN, PLAN, FR, ""])
    assert codes.values == {"segment": ("loyal", "new"), "country": ("GB",), "attributes.plan": ("gold",)}
    assert codes.sizes == (3, 2, 2)
    known = codes.encode(["new", "", "gone", "loyal"], ["", FR, PLAN, GB])
    assert known.tolist() == [[2, 0, 0], [0, 0, 0], [0, 1, 1], [1, 1, 0]]
    assert codes.encode([], []).shape == (0, 3)


def test_what_tells_each_user_from_all_others_gets_no_codes() -> None:
    """Ids, texts and numbers among the attributes are no groups; of too many attributes those of most users stay."""
    users = 2 * (MOST_VALUES + 1)
    rows = [
        {"attributes.email": f"{user}@shop", "attributes.postcode": str(user // 2), "attributes.plan": str(user % 3)}
        for user in range(users)
    ]
    codes = UserCodes.fit([""] * users, map(json.dumps, rows))
    assert codes.values == {"attributes.plan": ("0", "1", "2")}
    many = [{f"attributes.a{name:02d}": "x" for name in range(user)} for user in range(30)]
    assert list(UserCodes.fit([""] * 30, map(json.dumps, many)).values) == [
        f"attributes.a{name:02d}" for name in range(MOST_ATTRIBUTES)
    ]


@given(st.lists(st.tuples(WORDS, st.dictionaries(WORDS, WORDS, max_size=3)), max_size=12))
def test_every_shared_value_has_a_code_of_its_own_and_no_other_value_has_one(
    users: list[tuple[str, dict[str, str]]],
) -> None:
    segments, attributes = [segment for segment, _ in users], [json.dumps(told) for _, told in users]
    codes = UserCodes.fit(segments, attributes)
    found = codes.encode(segments, attributes)
    told = [{name: value for name, value in (known | {"segment": one}).items() if value} for one, known in users]
    for column, (name, values) in enumerate(codes.values.items()):
        for user, known in enumerate(told):
            value = known.get(name, "")
            shared = sum(other.get(name) == value for other in told) >= 2
            code = found[user, column]
            assert (code > 0) == (value in values) == (shared and name in known)
            assert not code or values[code - 1] == value
    order = np.random.default_rng(0).permutation(len(users))
    again = UserCodes.fit([segments[row] for row in order], [attributes[row] for row in order])
    assert again == codes
    assert list(again.values) == list(codes.values)


def test_save_is_load_and_damage_is_one_line(tmp_path: Path) -> None:
    codes = UserCodes.fit(["a", "b", "a", "b"], [GB, GB, "", ""])
    codes.save(tmp_path)
    assert UserCodes.load(tmp_path) == codes
    assert list(UserCodes.load(tmp_path).values) == list(codes.values)
    (tmp_path / "user_codes.json").write_text("{")
    with pytest.raises(BundleError, match="user_codes") as caught:
        UserCodes.load(tmp_path)
    assert "\n" not in str(caught.value)


def made(codes: UserCodes) -> TwoTowerRecommender:
    torch.manual_seed(0)
    network = TwoTower(TwoTowerConfig(rows=9 + FIRST, width=8, heads=2, attributes=codes.sizes)).eval()
    with torch.no_grad():
        for embedding in network.users.attributes:
            embedding.weight[1:].normal_(std=2.0)
    vectors = network.encode_products(torch.arange(9) + FIRST).detach().numpy()
    return TwoTowerRecommender(network, vectors=vectors, known=np.ones(9, dtype=np.bool_), users=codes)


def test_the_same_history_means_something_else_of_another_user() -> None:
    recommender = made(UserCodes({"segment": ("loyal", "new"), "country": ("FR", "GB")}))
    histories = replace(
        histories_of([[1, 2]] * 6),
        segments=("loyal", "new", "", "gone", "loyal", ""),
        attributes=("", "", "", '{"country":"XX"}', GB, FR),
    )
    users = recommender.encode_users(histories, users=np.arange(6))
    for one in range(6):
        for other in range(one):
            alike = (one, other) == (3, 2)  # what nobody had when it was learned is as good as nothing
            assert np.allclose(users[one], users[other], rtol=1e-5) == alike, (one, other)
    bare = recommender.encode_users(replace(histories, segments=(), attributes=()), users=np.arange(6))
    np.testing.assert_allclose(bare, np.repeat(users[2:3], 6, axis=0), rtol=1e-6)
    turned = recommender.encode_users(take(histories, np.array([4, 0])), users=np.arange(2))
    np.testing.assert_allclose(turned, users[[4, 0]], rtol=1e-5)
    assert read_once(histories).attributes == histories.attributes


def test_what_is_known_of_users_follows_them(small_snapshot: Snapshot) -> None:
    read = SnapshotHistories(small_snapshot).read(["u01", "nobody", "u00"])
    assert read.segments == ("loyal", "", "new")
    assert read.attributes == (GB, "", GB)
    encoded = small_snapshot.catalogue().encode(read)
    assert (encoded.segments, encoded.attributes) == (read.segments, read.attributes)
    assert rows_of(read, np.array([1, 0])).attributes == ("", GB)
    assert followed(read, read, now=None).attributes == read.attributes


def test_a_component_of_before_that_knows_segments_alone_answers_as_it_did(tmp_path: Path) -> None:
    recommender = made(UserCodes({"segment": ("loyal", "new")}))
    recommender.network.save(tmp_path)
    config = {name: value for name, value in asdict(recommender.network.config).items() if name != "attributes"}
    (tmp_path / "config.json").write_text(json.dumps(config | {"segments": 3}))
    weights = load_file(tmp_path / "model.safetensors")
    weights["users.segment.weight"] = weights.pop("users.attributes.0.weight")
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "segments.json").write_text('["loyal","new"]')
    older = TwoTowerRecommender(
        TwoTower.load(tmp_path), vectors=recommender.products, known=recommender.known, users=UserCodes.load(tmp_path)
    )
    histories = replace(histories_of([[1, 2]] * 3), segments=("loyal", "new", ""), attributes=(GB, "", FR))
    rows = np.arange(3)
    np.testing.assert_array_equal(
        older.encode_users(histories, users=rows), recommender.encode_users(histories, users=rows)
    )
    (tmp_path / "config.json").write_text(json.dumps(config | {"segments": 0}))
    del weights["users.segment.weight"]
    save_file(weights, tmp_path / "model.safetensors")
    assert TwoTower.load(tmp_path).config.attributes == ()
    (tmp_path / "segments.json").write_text("{")
    with pytest.raises(BundleError, match="segments"):
        UserCodes.load(tmp_path)
