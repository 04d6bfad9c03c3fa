"""A backbone small enough to train in a second, without dropout, in the words of the small shop."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import torch

from feature_store.snapshot import Snapshot, build_snapshot
from recsys.models.backbone import new_backbone
from recsys.text.tokenizer import TextTokenizer
from tests.shops import order_tables, small_tables, write_shop

SHAPE = {
    "hidden_size": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Losses are compared to the last digit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with config.json, model.safetensors and tokenizer."""
    folder = tmp_path_factory.mktemp("backbone") / "tiny"
    colours, kinds = ["blue", "red", "green", "black"], ["sofa", "lamp", "desk", "chair"]
    words = [*colours, *kinds, "for", "every", "room", "size", "colour", "nord", "sud"]
    tokenizer = TextTokenizer.of_words(words, folder, max_length=64)
    new_backbone({**SHAPE, "vocab_size": tokenizer.vocabulary_size}, seed=0).save(folder)
    tokenizer.save(folder)
    return folder


@pytest.fixture(scope="session")
def orders_snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The small shop's snapshot by time, where everything is bought in orders, and bought again; read only."""
    place = tmp_path_factory.mktemp("orders")
    shop = write_shop(place / "shop", order_tables(), toml='name = "small"\n')
    return build_snapshot(shop, out=place / "snapshot", split="time")


@pytest.fixture(scope="session")
def judged_snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The small shop with four times as many queries, so that the validation part has enough."""
    place = tmp_path_factory.mktemp("judged")
    tables = small_tables()
    spellings = ("", "new ", "best ", "cheap ")
    tables["queries"] = pl.concat(
        tables["queries"].with_columns(
            query_id=pl.lit(f"{number}") + pl.col("query_id"), query=pl.lit(word) + pl.col("query")
        )
        for number, word in enumerate(spellings)
    )
    tables["judgments"] = pl.concat(
        tables["judgments"].with_columns(query_id=pl.lit(f"{number}") + pl.col("query_id"))
        for number in range(len(spellings))
    )
    toml = 'name = "small"\n[judgments]\nmax_grade = 3\n'
    return build_snapshot(write_shop(place / "shop", tables, toml=toml), out=place / "snapshot")
