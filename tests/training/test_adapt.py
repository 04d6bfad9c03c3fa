"""Adaptation: masks by their statistics, heads of checkpoints, texts from the disk, and a loss that falls."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from feature_store.snapshot import Snapshot, build_snapshot
from recsys.errors import BundleError, SnapshotError
from recsys.models.backbone import load_backbone
from recsys.models.masked_language import HEAD, NAMES, PARTS, MaskedLanguageHead, word_vectors
from recsys.models.text_encoder import TextEncoder
from recsys.text.fields import product_text
from recsys.text.normalise import normalise
from recsys.text.tokenizer import TextTokenizer
from tests.command import recsys
from tests.shops import small_tables, write_shop
from tests.training.commands import client, options
from tests.training.toy import weights_of
from training.adapt import texts as reading
from training.adapt.config import AdaptConfig
from training.adapt.learn import adapt, parted
from training.adapt.masking import IGNORED, Vocabulary, mask_words, word_continues
from training.adapt.module import AdaptModule, collate, loaders
from training.adapt.texts import shop_texts, stored_tokens, training_queries


def config_of(backbone: Path, **values: object) -> AdaptConfig:
    given = {"precision": "fp32", "max_length": 24, "batch_size": 8, "backbone": str(backbone), "learning_rate": 0.01}
    return AdaptConfig.model_validate(given | values)


def test_pieces_that_go_on_by_the_marks_of_three_kinds() -> None:
    for pieces, wanted in (
        (["[CLS]", "sofa", "##s", "a"], [False, False, True, False]),
        (["<s>", "Ġsofa", "s", "Ġa"], [True, False, True, False]),
        (["<s>", "▁sofa", "s", "▁a"], [True, False, True, False]),
        (["sofa", "s"], [False, False]),
    ):
        assert word_continues(pieces).tolist() == wanted


def test_words_by_hand(tiny_backbone: Path) -> None:
    """[CLS] blue s ##o ##x [SEP]: special pieces are no words, ##o and ##x go on with s."""
    tokenizer = TextTokenizer.load(tiny_backbone)
    vocabulary = Vocabulary.of(tokenizer)
    batch = tokenizer.pad(tokenizer.encode(["blue sox", "red"]))
    pieces = [tokenizer.pieces[number] for number in batch["input_ids"][0]]
    assert pieces == ["[CLS]", "blue", "s", "##o", "##x", "[SEP]"]
    words = vocabulary.words(batch["input_ids"].numpy())
    assert words.tolist() == [[-1, 0, 1, 1, 1, -1], [-1, 0, -1, -1, -1, -1]]
    assert set(tokenizer.special_ids) & set(vocabulary.ordinary.tolist()) == set()


def test_shares_of_masks_over_many_draws() -> None:
    """15 % of the words, whole; 80 / 10 / 10 of their pieces; nothing special; labels only where chosen."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 4, (200, 100), generator=generator)
    words = torch.repeat_interleave(torch.arange(200 * 100) % 100, lengths.flatten())[:30_000].reshape(100, 300)
    words[:, 0] = -1
    words = torch.where(words < 0, -1, (torch.diff(words, dim=1, prepend=words[:, :1]) != 0).cumsum(dim=1))
    words[:, 0], words[:, -20:] = -1, -1
    ids = torch.randint(10, 1000, words.shape, generator=generator)
    ordinary = torch.arange(10, 1000)
    shown, labels = mask_words(ids, words, share=0.15, mask_id=4, ordinary=ordinary, generator=generator)
    chosen = labels != IGNORED
    assert labels[chosen].equal(ids[chosen])
    assert shown[~chosen].equal(ids[~chosen])
    assert not chosen[words < 0].any()
    for row in range(len(ids)):
        for word in words[row].unique():
            own = chosen[row][words[row] == word]
            assert bool(own.all()) or not bool(own.any())
    count = int(chosen.sum())
    assert count / int((words >= 0).sum()) == pytest.approx(0.15, abs=0.015)
    assert (shown[chosen] == 4).float().mean().item() == pytest.approx(0.8, abs=0.02)
    assert (shown[chosen] == ids[chosen]).float().mean().item() == pytest.approx(0.1, abs=0.02)


def test_masks_are_new_in_each_draw_and_the_same_for_a_seed() -> None:
    ids, words = torch.arange(10, 110).reshape(2, 50), torch.arange(50).repeat(2, 1)

    def draw(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return mask_words(ids, words, share=0.3, mask_id=4, ordinary=torch.arange(10, 110))[1]

    assert draw(1).equal(draw(1))
    assert not draw(1).equal(draw(2))


def test_a_new_head_is_tied_to_the_word_vectors(tiny_backbone: Path) -> None:
    backbone = load_backbone(tiny_backbone)
    head = MaskedLanguageHead.load(tiny_backbone, backbone, seed=3)
    assert weights_of(head) == weights_of(MaskedLanguageHead.load(tiny_backbone, backbone, seed=3))
    assert weights_of(head) != weights_of(MaskedLanguageHead.load(tiny_backbone, backbone, seed=4))
    hidden, vectors = torch.randn(3, backbone.width), word_vectors(backbone)
    inner = head.norm(torch.nn.functional.gelu(head.dense(hidden)))
    assert torch.allclose(head(hidden, vectors), inner @ vectors.T + head.bias, atol=1e-6)


@pytest.mark.parametrize("names", [*NAMES, None])
def test_the_head_of_a_checkpoint_is_taken(names: tuple[str, ...] | None, tiny_backbone: Path, tmp_path: Path) -> None:
    """As BERT, RoBERTa and DistilBERT name it, and as an earlier adaptation wrote it."""
    backbone = load_backbone(tiny_backbone)
    wanted = MaskedLanguageHead(backbone.width, vocabulary=len(word_vectors(backbone)), seed=9)
    if names is None:
        wanted.save(tmp_path)
    else:
        weights = load_file(tiny_backbone / "model.safetensors")
        own = wanted.state_dict()
        save_file(
            weights | {theirs: own[ours] for ours, theirs in zip(PARTS, names, strict=True)},
            tmp_path / "model.safetensors",
        )
    assert weights_of(MaskedLanguageHead.load(tmp_path, backbone, seed=0)) == weights_of(wanted)
    (tmp_path / HEAD).write_bytes(b"no weights")
    with pytest.raises(BundleError, match="can't be read"):
        MaskedLanguageHead.load(tmp_path, backbone, seed=0)


def test_texts_are_the_products_in_slices(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "ROWS", 7)
    slices = list(shop_texts([small_snapshot], fields=("title", "brand")))
    assert [len(part) for part in slices] == [7] * 5 + [5]
    texts = product_text(small_snapshot.catalogue().frame, fields=("title", "brand"))
    assert [text for part in slices for text in part] == texts
    assert list(shop_texts([small_snapshot] * 2, fields=("title",)))[6:] == list(
        shop_texts([small_snapshot], fields=("title",))
    )
    tokenizer = TextTokenizer.load(tiny_backbone)
    tokens = stored_tokens([["", "red sofa", " "], texts], tmp_path, tokenizer=tokenizer, max_length=9)
    plain = tokenizer.encode(["red sofa", *texts], max_length=9)
    for name in ("ids", "types", "offsets"):
        assert np.array_equal(getattr(tokens, name), getattr(plain, name))
    assert isinstance(tokens.ids, np.memmap)
    again = stored_tokens(iter(()), tmp_path, tokenizer=tokenizer, max_length=9)
    assert np.array_equal(again.offsets, tokens.offsets)


def test_queries_are_those_of_no_held_out_part(small_snapshot: Snapshot, tmp_path: Path) -> None:
    tables = small_tables()
    tables["queries"] = tables["queries"].with_columns(pl.col("query").str.to_uppercase())
    folds = [
        build_snapshot(
            write_shop(tmp_path / f"shop{fold}", tables),
            out=tmp_path / str(fold),
            split="query-folds",
            options={"fold": str(fold)},
        )
        for fold in (0, 1)
    ]
    held_out = {normalise(query) for one in folds for query in one.judgments("validation", "test")["query"]}
    found = training_queries(folds)
    assert found
    assert not {normalise(query) for query in found} & held_out
    assert found == sorted(set(found))
    slices = list(shop_texts(folds, fields=("title",), queries=True))
    assert slices[-1] == found
    assert len(list(shop_texts(folds, fields=("title",)))) == len(slices) - 1


def test_rows_are_parted_by_the_seed() -> None:
    train, held_out = parted(100, share=0.05, seed=1)
    assert sorted([*train, *held_out]) == list(range(100))
    assert len(held_out) == 5
    assert held_out.tolist() != parted(100, share=0.05, seed=2)[1].tolist()
    assert len(parted(99, share=0.01, seed=1)[1]) == 0


def test_a_batch_without_a_mask_has_no_loss_but_a_gradient(tiny_backbone: Path) -> None:
    tokenizer = TextTokenizer.load(tiny_backbone)
    vocabulary = Vocabulary.of(tokenizer)
    backbone = load_backbone(tiny_backbone)
    head = MaskedLanguageHead.load(tiny_backbone, backbone, seed=0)
    config = config_of(tiny_backbone, mask_share=1e-9)
    module = AdaptModule(backbone, head, vocabulary=vocabulary, config=config, steps=1)
    batch = collate(tokenizer.encode(["red sofa"]), np.array([0]), tokenizer=tokenizer, vocabulary=vocabulary)
    loss = module.training_step(batch, 0)
    assert loss.item() == 0.0
    loss.backward()


def test_padding_changes_no_loss(tiny_backbone: Path) -> None:
    """Under one mask a short text's loss is the same alone and beside a long one."""
    tokenizer = TextTokenizer.load(tiny_backbone)
    vocabulary = Vocabulary.of(tokenizer)
    backbone = load_backbone(tiny_backbone)
    head = MaskedLanguageHead.load(tiny_backbone, backbone, seed=0).eval()
    short = tokenizer.pad(tokenizer.encode(["red sofa"]))
    wide = tokenizer.pad(tokenizer.encode(["red sofa"]), length=20)
    with torch.inference_mode():
        one, other = (head(backbone(**given)[:, 1], word_vectors(backbone)) for given in (short, wide))
    assert torch.allclose(one, other, atol=1e-5)
    assert vocabulary.words(wide["input_ids"].numpy())[0, 4:].tolist() == [-1] * 16


def test_the_loss_falls_and_every_stage_can_start_there(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    config = config_of(tiny_backbone, epochs=12, held_out=0.2, accumulate=2)
    result = adapt([small_snapshot], config=config, out=tmp_path / "adapted", work=tmp_path / "work")
    losses = [epoch["validation/loss"] for epoch in result.history]
    assert losses[-1] < losses[0] - 0.5
    adapted, before = load_backbone(tmp_path / "adapted"), load_backbone(tiny_backbone)
    assert weights_of(adapted) != weights_of(before)
    assert TextEncoder.load(tmp_path / "adapted").width == before.width
    head = MaskedLanguageHead.load(tmp_path / "adapted", adapted, seed=99)
    assert weights_of(head) != weights_of(MaskedLanguageHead.load(tiny_backbone, before, seed=99))
    TextTokenizer.load(tmp_path / "adapted")
    again = adapt([small_snapshot], config=config, out=tmp_path / "again", work=tmp_path / "work2")
    assert again.losses == result.losses
    assert weights_of(load_backbone(tmp_path / "again")) == weights_of(adapted)


def test_a_stopped_run_goes_on_to_the_same_weights(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tiny_backbone, epochs=2, checkpoint_steps=2, held_out=0.0)
    whole = adapt([small_snapshot], config=config, out=tmp_path / "whole", work=tmp_path / "a")
    step, seen = AdaptModule.training_step, []

    def stopping(self: AdaptModule, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        seen.append(batch_idx)
        if len(seen) == 8:
            raise RuntimeError("stopped")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(AdaptModule, "training_step", stopping)
    with pytest.raises(RuntimeError, match="stopped"):
        adapt([small_snapshot], config=config, out=tmp_path / "cut", work=tmp_path / "b")
    assert not (tmp_path / "cut").exists()
    done = adapt([small_snapshot], config=config, out=tmp_path / "cut", work=tmp_path / "b")
    assert done.losses == whole.losses
    assert weights_of(load_backbone(tmp_path / "cut")) == weights_of(load_backbone(tmp_path / "whole"))


def test_batches_read_rows_of_their_part_alone(tiny_backbone: Path) -> None:
    tokenizer = TextTokenizer.load(tiny_backbone)
    tokens = tokenizer.encode([f"red sofa {'for ' * (number % 5)}" for number in range(40)])
    train, held_out = parted(40, share=0.25, seed=0)
    given = {"tokenizer": tokenizer, "vocabulary": Vocabulary.of(tokenizer), "config": config_of(tiny_backbone)}
    first, second, steps = loaders(tokens, train, held_out, **given)  # type: ignore[arg-type]
    assert second is not None
    assert steps == len(first) == 3
    rows = np.concatenate(first.plan(0))
    assert set(rows.tolist()) <= set(train.tolist())
    assert sorted(np.concatenate(second.plan(0)).tolist()) == held_out.tolist()


def test_shops_without_words_are_named(tiny_backbone: Path, tmp_path: Path, small_snapshot: Snapshot) -> None:
    tables = {"products": small_tables()["products"].drop("description")}
    bare = build_snapshot(write_shop(tmp_path / "shop", tables), out=tmp_path / "snapshot")
    with pytest.raises(SnapshotError, match="has any text"):
        adapt([bare], config=config_of(tiny_backbone, fields=["description"]), out=tmp_path / "o", work=tmp_path / "w")


def test_the_command_and_a_training_from_its_folder(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["--set", f"backbone={tiny_backbone}", "--set", "precision=fp32", "--set", "held_out=0.1"]
    done = recsys(capsys, "adapt", small_snapshot.path, "-o", tmp_path / "adapted", *settings, "--json")
    assert done.code == 0, done.err
    assert done.report["products"] == 40
    assert sorted(done.report["metrics"]) == ["loss", "validation/loss"]
    (used,) = client().get_run(done.report["run_id"]).inputs.dataset_inputs
    assert used.dataset.digest == small_snapshot.manifest.snapshot_id
    assert list((tmp_path / "recsys-home" / "training").iterdir()) == []
    adapted = tmp_path / "adapted"
    trained = recsys(capsys, "train", "relevance", small_snapshot.path, *options(adapted, "epochs=1"), "--json")
    assert trained.code == 0, trained.err
    assert json.loads((adapted / "config.json").read_text())["num_hidden_layers"] == 1
    for mistake in (["--set", "mask_share=1.5"], [small_snapshot.path]):  # the same snapshot twice
        wrong = recsys(capsys, "adapt", small_snapshot.path, "-o", tmp_path / "x", *mistake)
        assert wrong.code == 2
        assert len(wrong.lines) == 1
