"""Low-rank adapters: what they train, and that nothing of them is left in what is saved."""

import sys
from pathlib import Path

import pytest
import torch

from feature_store.snapshot import Snapshot
from recsys.errors import MissingDependencyError, UsageError
from recsys.models.cross_encoder import CrossEncoder
from recsys.models.encode import infer
from recsys.text.tokenizer import TextTokenizer
from training.relevance.config import RelevanceConfig
from training.relevance.data import read_pairs
from training.relevance.learn import learn, new_network
from training.relevance.lora import add_adapters
from training.relevance.module import Pairs, mean_ndcg


def config_of(**values: object) -> RelevanceConfig:
    given = {"lora": 4, "epochs": 2, "batch_size": 16, "learning_rate": 0.01, "max_length": 24, "precision": "fp32"}
    return RelevanceConfig.model_validate(given | values)


def pairs_of(snapshot: Snapshot, backbone: Path) -> Pairs:
    pairs = read_pairs(snapshot, "train", tokenizer=TextTokenizer.load(backbone), config=config_of())
    assert pairs is not None
    return pairs


def test_only_adapters_and_head_are_trained(tiny_backbone: Path) -> None:
    network = new_network(config_of(), tiny_backbone)
    names = set(network.state_dict())
    merge = add_adapters(network, rank=4, alpha=8.0, targets=("query", "value"))
    trained = {name for name, weight in network.named_parameters() if weight.requires_grad}
    assert {name.partition(".")[0] for name in trained} == {"backbone", "head"}
    adapters = {name for name in trained if name.startswith("backbone")}
    assert len(adapters) == 4
    assert all("lora_" in name and ".layer.0." in name for name in adapters)
    merge()
    assert set(network.state_dict()) == names


def test_merged_and_saved_it_scores_as_with_its_adapters(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    """A new adapter changes nothing; one with weights changes scores, and merging and saving keep those."""
    network, tokenizer = new_network(config_of(), tiny_backbone), TextTokenizer.load(tiny_backbone)
    tokens = pairs_of(small_snapshot, tiny_backbone).tokens
    plain = infer(network, tokenizer, tokens, precision="fp32")
    torch.manual_seed(0)
    merge = add_adapters(network, rank=4, alpha=8.0, targets=("query", "value", "dense"))
    assert infer(network, tokenizer, tokens, precision="fp32") == pytest.approx(plain, abs=1e-6)
    for name, weight in network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    with_adapters = infer(network, tokenizer, tokens, precision="fp32")
    assert with_adapters != pytest.approx(plain, abs=1e-3)
    merge()
    network.save(tmp_path)
    again = CrossEncoder.load(tmp_path)
    assert infer(again, tokenizer, tokens, precision="fp32") == pytest.approx(with_adapters, abs=1e-5)
    assert not [name for name in again.state_dict() if "lora" in name]
    assert {file.name for file in tmp_path.iterdir()} == {
        "config.json",
        "model.safetensors",
        "head.safetensors",
        "cross_encoder.json",
    }


def test_it_learns_and_only_what_is_targeted_changes(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    pairs, config = pairs_of(small_snapshot, tiny_backbone), config_of(epochs=60, lora=8, learning_rate=0.03)
    learned = learn(pairs, None, config=config, start=tiny_backbone, work=tmp_path)
    before = new_network(config, tiny_backbone)
    changed = {
        name for name, weight in learned.network.state_dict().items() if not weight.equal(before.state_dict()[name])
    }
    assert {name.rsplit(".", 2)[-2] for name in changed if name.startswith("backbone")} == {"query", "value"}
    first, last = (
        mean_ndcg(pairs.queries, pairs.grades, infer(network, learned.tokenizer, pairs.tokens, precision="fp32"))
        for network in (before, learned.network)
    )
    assert last > first + 0.05


def test_a_stopped_run_goes_on_to_the_same_weights(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    """With everything on that changes what is trained: adapters, layer-wise rates, averaging, adversarial steps."""
    pairs, config = pairs_of(small_snapshot, tiny_backbone), config_of(layer_decay=0.8, ema=0.9, adversarial=0.1)
    whole = learn(pairs, pairs, config=config, start=tiny_backbone, work=tmp_path / "whole")
    learn(pairs, pairs, config=config, start=tiny_backbone, work=tmp_path / "parts", stop_after=1)
    parts = learn(pairs, pairs, config=config, start=tiny_backbone, work=tmp_path / "parts")
    assert parts.result.losses == whole.result.losses
    mine, theirs = whole.network.state_dict(), parts.network.state_dict()
    assert all(mine[name].equal(theirs[name]) for name in mine)


def test_layers_that_are_not_there_are_named(tiny_backbone: Path) -> None:
    network = new_network(config_of(), tiny_backbone)
    with pytest.raises(UsageError, match="lora_targets = q_lin; expected some of dense, key, query, value"):
        add_adapters(network, rank=4, alpha=8.0, targets=("q_lin",))


def test_without_peft_the_package_is_named(tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingDependencyError, match="peft"):
        add_adapters(new_network(config_of(), tiny_backbone), rank=4, alpha=8.0, targets=("query",))
