"""Layers that stay, and several cross-encoders as one."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.bundle.manifest import PRODUCT_SEARCH, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.bundle.write import write_bundle
from recsys.errors import BundleError
from recsys.models.backbone import load_backbone
from recsys.models.cross_encoder import CrossEncoder
from recsys.models.encode import score_pairs
from recsys.models.ensemble import CrossEncoderEnsemble, load_cross_encoder, member_folders
from recsys.models.layers import LayerChoice, keep_layers, kept_layers
from recsys.ranking.cross_encoder import CrossEncoderRanker
from recsys.testing.ranker import check_ranker
from recsys.testing.tiny import tiny_backbone
from recsys.text.tokenizer import TextTokenizer

QUERIES, TEXTS = ["blue sofa", "lamp"], ["a blue velvet sofa", "desk lamp, red"]
WORDS = ("blue", "sofa", "lamp", "desk", "red", "velvet")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_backbone(tmp_path_factory.mktemp("tiny"), seed=0, words=WORDS, layers=6)


@pytest.fixture(scope="module")
def saved(backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ensemble of three heads over one backbone, with its tokenizer."""
    folder = tmp_path_factory.mktemp("ensemble")
    members = [CrossEncoder(load_backbone(backbone, layers=1 + seed), seed=seed, max_length=24) for seed in range(3)]
    CrossEncoderEnsemble(members).save(folder)
    for place in (folder, *member_folders(folder)):
        TextTokenizer.load(backbone).save(place)
    return folder


@pytest.mark.parametrize(
    ("there", "wanted", "choice", "kept"),
    [
        (6, 3, "first", [0, 1, 2]),
        (6, 3, "spaced", [0, 2, 5]),
        (6, 2, "spaced", [0, 5]),
        (6, 1, "spaced", [0]),
        (12, 6, "spaced", [0, 2, 4, 7, 9, 11]),
        (4, 4, "spaced", [0, 1, 2, 3]),
    ],
)
def test_layers_that_stay(there: int, wanted: int, choice: LayerChoice, kept: list[int]) -> None:
    assert kept_layers(there, wanted, choice=choice) == kept


def test_a_cut_network_runs_the_layers_that_stay_and_is_saved_whole(backbone: Path, tmp_path: Path) -> None:
    whole, cut = load_backbone(backbone), keep_layers(load_backbone(backbone), 3, choice="spaced")
    tokens = TextTokenizer.load(backbone).pad(TextTokenizer.load(backbone).encode(TEXTS))
    stack = whole.network.encoder.layer
    for number, source in enumerate((0, 2, 5)):
        for mine, theirs in zip(
            cut.network.encoder.layer[number].parameters(), stack[source].parameters(), strict=True
        ):
            assert mine.equal(theirs)
    assert cut.layers == 3
    cut.save(tmp_path)
    with torch.inference_mode():
        assert load_backbone(tmp_path)(**tokens).equal(cut(**tokens))
        first = keep_layers(load_backbone(backbone), 3, choice="first")
        assert first(**tokens).equal(load_backbone(backbone, layers=3)(**tokens))
    with pytest.raises(BundleError, match="7 layers of 6"):
        keep_layers(whole, 7, choice="spaced")


def test_the_ensemble_scores_the_mean_of_its_members_logits(saved: Path) -> None:
    ensemble, tokenizer = load_cross_encoder(saved), TextTokenizer.load(saved)
    alone = [
        score_pairs(CrossEncoder.load(place), TextTokenizer.load(place), QUERIES, TEXTS, precision="fp32")
        for place in member_folders(saved)
    ]
    assert len(alone) == 3
    assert not np.allclose(alone[0], alone[1])
    together = score_pairs(ensemble, tokenizer, QUERIES, TEXTS, precision="fp32")
    assert together == pytest.approx(np.mean(alone, axis=0), abs=1e-6)
    ranked = CrossEncoderRanker.load(saved, precision="fp32").score(QUERIES, TEXTS)
    assert ranked == pytest.approx(1 / (1 + np.exp(-np.mean(alone, axis=0))), abs=1e-6)
    assert (ensemble.fields, ensemble.max_length) == (CrossEncoder.load(member_folders(saved)[0]).fields, 24)


def test_one_network_is_read_as_itself(saved: Path) -> None:
    place = member_folders(saved)[1]
    assert isinstance(load_cross_encoder(place), CrossEncoder)
    assert member_folders(place) == [place]


def test_the_ensemble_is_a_ranker(saved: Path) -> None:
    for deterministic in (False, True):
        ranker = CrossEncoderRanker.load(saved, precision="fp32", deterministic=deterministic)
        check_ranker(ranker, queries=QUERIES, texts=TEXTS, low=0.0, high=1.0)


def test_an_ensemble_in_a_bundle(saved: Path, tmp_path: Path) -> None:
    info = ComponentInfo(name="cross_encoder")
    given = {"kind": PRODUCT_SEARCH, "shop": "s", "policy": {}, "snapshot": "", "config": {}}
    write_bundle(tmp_path / "bundle", components={"cross_encoder": (saved, info)}, **given)
    folder = Bundle.open(tmp_path / "bundle").component("cross_encoder")
    assert folder is not None
    before, after = (
        CrossEncoderRanker.load(place, precision="fp32").score(QUERIES, TEXTS) for place in (saved, folder)
    )
    assert before.tolist() == after.tolist()


def test_damaged_or_mixed_ensembles_are_refused(saved: Path, backbone: Path, tmp_path: Path) -> None:
    for text in ("{", json.dumps({"format": 9, "members": 3}), json.dumps({"format": 1, "members": 0}), "[]"):
        (tmp_path / "ensemble.json").write_text(text)
        with pytest.raises(BundleError, match="holds no ensemble"):
            load_cross_encoder(tmp_path)
    (tmp_path / "ensemble.json").write_text(json.dumps({"format": 1, "members": 1}))
    with pytest.raises(BundleError, match="holds no cross-encoder"):
        load_cross_encoder(tmp_path)
    members = [CrossEncoder(load_backbone(backbone), max_length=length) for length in (16, 24)]
    with pytest.raises(BundleError, match="2 kinds of text"):
        CrossEncoderEnsemble(members)
