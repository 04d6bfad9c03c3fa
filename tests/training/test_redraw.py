"""Training pairs written anew in each epoch: by (seed, epoch, row) alone, and not at all where the switches are off."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from feature_store.snapshot import Snapshot
from recsys.errors import UsageError
from recsys.text.parts import join_parts
from recsys.text.tokenizer import TextTokenizer
from training.batches import FILLING
from training.relevance.config import RelevanceConfig
from training.relevance.data import join_pairs, pair_texts, product_texts, read_pairs
from training.relevance.learn import learn, new_network
from training.relevance.module import Pairs, RelevanceModule, loaders
from training.relevance.redraw import Redraw, new_redraw

ON: dict[str, object] = {"typos": 0.5, "word_dropout": 0.2, "field_dropout": 0.3, "attribute_dropout": 0.5}


def config_of(**values: object) -> RelevanceConfig:
    given = {"epochs": 2, "batch_size": 16, "learning_rate": 0.01, "max_length": 24, "precision": "fp32"}
    return RelevanceConfig.model_validate(given | values)


def pairs_of(snapshot: Snapshot, backbone: Path, config: RelevanceConfig) -> Pairs:
    pairs = read_pairs(snapshot, "train", tokenizer=TextTokenizer.load(backbone), config=config)
    assert pairs is not None
    return pairs


def redraw_of(snapshot: Snapshot, backbone: Path, **values: object) -> tuple[Pairs, Redraw]:
    config = config_of(**values)
    pairs, tokenizer = pairs_of(snapshot, backbone, config), TextTokenizer.load(backbone)
    network = new_network(config, backbone)
    given = {"grades": pairs.grades, "network": network, "tokenizer": tokenizer, "config": config}
    found = new_redraw(pairs.tokens, texts=pairs.texts, **given)
    assert found is not None
    return pairs, found


def test_texts_are_kept_only_where_they_are_needed(small_snapshot: Snapshot, tiny_backbone: Path) -> None:
    assert pairs_of(small_snapshot, tiny_backbone, config_of()).texts is None
    judgments = small_snapshot.judgments("train")
    texts = pair_texts(small_snapshot, judgments, config=config_of(typos=0.1))
    assert texts is not None
    shown = [texts.at(row) for row in range(len(judgments))]
    assert [query for query, _ in shown] == judgments["query"].to_list()
    assert [join_parts(parts) for _, parts in shown] == product_texts(small_snapshot, judgments)
    rows = np.array([5, 0, 5])
    joined = texts.take(rows).join(texts)
    assert [joined.at(row) for row in range(3 + len(judgments))] == [*(shown[row] for row in rows), *shown]


def test_an_epoch_shows_what_its_texts_say(small_snapshot: Snapshot, tiny_backbone: Path) -> None:
    """Changed and unchanged rows in one batch, against each row tokenised alone."""
    _, redraw = redraw_of(small_snapshot, tiny_backbone, typos=0.3, seed=2)
    (numbers,) = redraw.number([np.array([7, 0, 3, 11, 20])], epoch=4)
    rows, tokens = redraw.read(numbers)
    assert rows.tolist() == [7, 0, 3, 11, 20]
    changed = 0
    for place, row in enumerate(rows.tolist()):
        query, product = redraw.write(epoch=4, row=row)
        alone = redraw.tokenizer.encode([query], pairs=[product], max_length=24)
        assert tokens.take([place]).ids.tolist() == alone.ids.tolist()
        assert tokens.take([place]).types.tolist() == alone.types.tolist()
        changed += (query, product) != redraw.plain(row)
    assert 0 < changed < 5


def test_draws_follow_seed_epoch_and_row_alone(small_snapshot: Snapshot, tiny_backbone: Path) -> None:
    _, redraw = redraw_of(small_snapshot, tiny_backbone, **ON)
    _, again = redraw_of(small_snapshot, tiny_backbone, **ON)
    _, other = redraw_of(small_snapshot, tiny_backbone, **ON, seed=1)

    def epoch_of(source: Redraw, epoch: int, rows: np.ndarray) -> dict[int, list[int]]:
        shown, tokens = source.read(source.number([rows], epoch=epoch)[0])
        return {int(row): tokens.take([place]).ids.tolist() for place, row in enumerate(shown)}

    rows = np.arange(40)
    first = epoch_of(redraw, 0, rows)
    assert epoch_of(again, 0, rows[::-1]) == first
    assert {7: first[7]} == epoch_of(again, 0, rows[7:8])
    assert epoch_of(redraw, 1, rows) != first != epoch_of(other, 0, rows)


def test_filling_stays(small_snapshot: Snapshot, tiny_backbone: Path) -> None:
    _, redraw = redraw_of(small_snapshot, tiny_backbone, typos=1.0)
    (numbers,) = redraw.number([np.array([2, FILLING])], epoch=3)
    assert numbers[1] == FILLING
    rows, tokens = redraw.read(numbers)
    assert rows.tolist() == [2, FILLING]
    assert len(tokens) == 2


def test_fields_and_attributes_are_left_out_of_the_product(small_snapshot: Snapshot, tiny_backbone: Path) -> None:
    _, redraw = redraw_of(small_snapshot, tiny_backbone, field_dropout=1.0)
    query, product = redraw.write(epoch=0, row=0)
    judged = small_snapshot.judgments("train")
    title = small_snapshot.catalogue().frame.filter(pl.col("product_id") == judged["product_id"][0])["title"][0]
    assert (query, product) == (judged["query"][0], title)


def test_a_shop_s_own_synonyms_are_used(small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path) -> None:
    file = tmp_path / "synonyms.txt"
    file.write_text("sofa => couch\n")
    _, redraw = redraw_of(small_snapshot, tiny_backbone, synonyms=1.0, synonyms_file=str(file))
    judged = small_snapshot.judgments("train")["query"].to_list()
    row = next(number for number, query in enumerate(judged) if "sofa" in query)
    assert redraw.write(epoch=0, row=row)[0] == judged[row].replace("sofa", "couch")


@pytest.mark.parametrize("loss", ["graded", "ranknet"])
def test_a_stopped_run_goes_on_to_the_same_weights(
    loss: str, small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    config = config_of(loss=loss, epochs=3, **ON)
    pairs = pairs_of(small_snapshot, tiny_backbone, config)
    whole = learn(pairs, None, config=config, start=tiny_backbone, work=tmp_path / "whole")
    learn(pairs, None, config=config, start=tiny_backbone, work=tmp_path / "parts", stop_after=1)
    parts = learn(pairs, None, config=config, start=tiny_backbone, work=tmp_path / "parts")
    assert parts.result.losses == whole.result.losses
    mine, theirs = whole.network.state_dict(), parts.network.state_dict()
    assert all(mine[name].equal(theirs[name]) for name in mine)


def test_a_loader_taken_up_inside_an_epoch_shows_the_same(small_snapshot: Snapshot, tiny_backbone: Path) -> None:
    pairs, redraw = redraw_of(small_snapshot, tiny_backbone, **ON)

    def new() -> Any:
        return loaders(pairs, None, tokenizer=redraw.tokenizer, config=redraw.config, redraw=redraw)[0]

    def stream(loader: Any, count: int) -> Iterator[torch.Tensor]:
        while count:
            for batch in loader:
                yield batch["input_ids"]
                count -= 1
                if not count:
                    return

    size = len(new())
    whole = list(stream(new(), 2 * size))
    resumed = new()
    resumed.load_state_dict({"epoch": 1, "next": 2})
    assert all(one.equal(other) for one, other in zip(stream(resumed, size - 2), whole[size + 2 :], strict=True))


def test_pairs_without_texts_are_refused(small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path) -> None:
    plain = pairs_of(small_snapshot, tiny_backbone, config_of())
    with pytest.raises(UsageError, match="pairs without their texts"):
        learn(plain, None, config=config_of(typos=0.1), start=tiny_backbone, work=tmp_path)
    assert join_pairs(plain, plain).texts is None


def test_with_everything_off_it_is_the_plain_loop(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    """Losses and weights, bit for bit, of a loop that knows nothing of augmentation, passes, averages or adapters."""
    config = config_of(dropout=0.3, freeze_embeddings=False)
    pairs, tokenizer = pairs_of(small_snapshot, tiny_backbone, config), TextTokenizer.load(tiny_backbone)
    learned = learn(pairs, None, config=config, start=tiny_backbone, work=tmp_path)
    network = new_network(config, tiny_backbone)
    first, _, steps = loaders(pairs, None, tokenizer=tokenizer, config=config)
    module = RelevanceModule(network, config=config, steps=steps, judged=None, scales=pairs.best_grades)
    made = module.configure_optimizers()
    losses = []
    for epoch in range(2):
        for number, batch in enumerate(first):
            torch.manual_seed((epoch * 1_000_003 + number) * 1009)
            scores = network(batch["input_ids"], batch["attention_mask"], batch["token_type_ids"])
            loss = module.objective(scores, batch)
            made["optimizer"].zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip)
            made["optimizer"].step()
            made["lr_scheduler"]["scheduler"].step()
            losses.append(loss.item())
    assert learned.result.losses == tuple(losses)
    mine, theirs = learned.network.state_dict(), network.state_dict()
    assert all(mine[name].equal(theirs[name]) for name in mine)
