"""When a stage that is fitted on another component's scores is due."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from feature_store.manifest import Manifest
from recsys.settings import Settings
from serving.learning import TRAINABLE, due, lacking
from tests.serving.fake_night import Shelf, Steps

CALIBRATION, BLENDER = (next(one for one in TRAINABLE if one.stage == name) for name in ("calibration", "blender"))


@pytest.mark.parametrize(
    ("components", "held_out", "trained"),
    [
        ({"cross_encoder": "s1"}, True, True),
        ({"cross_encoder": "s1"}, False, False),
        ({"text_encoder": "s1"}, True, False),
        ({"cross_encoder": "s1", "calibration": "s1"}, True, False),
        ({"cross_encoder": "s1", "calibration": "s0"}, True, True),
        (None, True, False),
    ],
)
def test_a_calibration_follows_its_cross_encoder(
    tmp_path: Path, components: dict[str, str] | None, held_out: bool, trained: bool
) -> None:
    shelf = Shelf(place=tmp_path)
    if held_out:
        (tmp_path / "cross_encoder").mkdir()
        (tmp_path / "cross_encoder" / "held_out.parquet").write_bytes(b"PAR1")
    if components is not None:
        shelf.put("product-search", "challenger", "ps1", components)
    manifest = Manifest.model_construct(shop="sample", snapshot_id="s9", watermark=datetime(2024, 3, 1, tzinfo=UTC))
    steps: Any = Steps(shelf)
    settings = Settings(home=tmp_path, tracking_uri="")
    can = not lacking(CALIBRATION, steps, shop="sample")
    assert can == (held_out and "cross_encoder" in (components or {}))
    assert (can and due(CALIBRATION, steps, manifest=manifest, settings=settings, days=0.0)) == trained
    assert all(lacking(one, steps, shop="sample") == "" for one in TRAINABLE if not one.of and not one.blends)


def test_a_calibration_follows_the_vectors_that_it_weighed(tmp_path: Path) -> None:
    shelf = Shelf(place=tmp_path)
    shelf.put("product-search", "challenger", "ps1", dict.fromkeys(("cross_encoder", "calibration"), "s1"))
    kept = shelf.fetch(shelf.find("product-search", shop="sample", alias="challenger"))
    kept.manifest.components["text_encoder"] = kept.manifest.components["cross_encoder"]
    manifest = Manifest.model_construct(shop="sample", snapshot_id="s9", watermark=datetime(2024, 3, 1, tzinfo=UTC))
    steps: Any = Steps(shelf)
    given: Any = {"manifest": manifest, "settings": Settings(home=tmp_path, tracking_uri=""), "days": 0.0}
    assert not due(CALIBRATION, steps, **given)
    steps.registry = SimpleNamespace(find=shelf.find, fetch=lambda version: kept)
    assert due(CALIBRATION, steps, **given)


@pytest.mark.parametrize(
    ("learned_over", "trained"),
    [
        ({}, True),
        ({"cross_encoder": "s1", "text_encoder": "s1"}, False),
        ({"cross_encoder": "s0", "text_encoder": "s1"}, True),
        ({"cross_encoder": "s1", "text_encoder": "s0"}, True),
        ({"cross_encoder": "s1", "text_encoder": "s1", "image_tower": "s1"}, True),
    ],
)
def test_a_blender_follows_every_network_whose_scores_it_reads(
    tmp_path: Path, learned_over: dict[str, str], trained: bool
) -> None:
    shelf = Shelf(place=tmp_path, learned_over=learned_over)
    components = {"cross_encoder": "s1", "text_encoder": "s1", "blender": "s1"}
    shelf.put("product-search", "challenger", "ps1", components)
    manifest = Manifest.model_construct(shop="sample", snapshot_id="s9", watermark=datetime(2024, 3, 1, tzinfo=UTC))
    steps: Any = Steps(shelf)
    settings = Settings(home=tmp_path, tracking_uri="")
    assert due(BLENDER, steps, manifest=manifest, settings=settings, days=0.0) == trained
    assert lacking(BLENDER, steps, shop="sample").startswith("the cross-encoder has no held-out scores")
