"""The two-tower network: causality, padding, batches, text, saving."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recsys.errors import BundleError
from recsys.models.two_tower import FIRST, PADDING, UNKNOWN, TwoTower, TwoTowerConfig

CONFIG = TwoTowerConfig(rows=20, text_width=6, width=8, blocks=2, heads=2, length=7, dropout=0.5)
SHAPES = [
    replace(CONFIG, pool=pool, similarity=similarity, gated=gated, positions=positions)
    for pool, similarity, gated, positions in itertools.product(
        ("last", "mean"), ("inner", "cosine"), (False, True), (False, True)
    )
] + [replace(CONFIG, blocks=0, pool="mean")]


def network(config: TwoTowerConfig = CONFIG, seed: int = 0) -> TwoTower:
    torch.manual_seed(seed)
    return TwoTower(config).eval()


def history(batch: int = 3, length: int = 7, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(batch, length, CONFIG.width, generator=generator)
    return vectors, torch.randint(0, 8, (batch, length), generator=generator)


@pytest.mark.parametrize("config", SHAPES)
def test_later_events_change_no_earlier_state(config: TwoTowerConfig) -> None:
    towers = network(config)
    vectors, types = history()
    before = towers.encode_states(vectors, types)
    for place in range(1, 7):
        changed, other = vectors.clone(), types.clone()
        changed[:, place:] = 9.0
        other[:, place:] = (types[:, place:] + 1) % 8
        after = towers.encode_states(changed, other)
        torch.testing.assert_close(after[:, :place], before[:, :place])
        assert not torch.allclose(after[:, place:], before[:, place:])


@pytest.mark.parametrize("config", SHAPES)
def test_padding_and_company_change_nothing(config: TwoTowerConfig) -> None:
    towers = network(config)
    vectors, types = history()
    lengths = torch.tensor([7, 2, 4])
    together = towers.encode_users(vectors, types, lengths)
    for user, length in enumerate(lengths.tolist()):
        alone = towers.encode_users(
            vectors[user : user + 1, :length], types[user : user + 1, :length], lengths[user : user + 1]
        )
        torch.testing.assert_close(together[user : user + 1], alone, rtol=1e-5, atol=1e-6)


def test_a_set_forgets_the_order_and_a_sequence_does_not() -> None:
    vectors, types = history()
    lengths = torch.full((3,), 7)
    turned, turned_types = vectors.flip(1), types.flip(1)
    bag = network(replace(CONFIG, blocks=0, pool="mean", positions=False))
    torch.testing.assert_close(
        bag.encode_users(vectors, types, lengths), bag.encode_users(turned, turned_types, lengths)
    )
    sequence = network()
    assert not torch.allclose(
        sequence.encode_users(vectors, types, lengths), sequence.encode_users(turned, turned_types, lengths)
    )


def test_cosine_is_the_cosine_over_the_temperature() -> None:
    towers = network(replace(CONFIG, similarity="cosine", temperature=0.1))
    vectors, types = history()
    users = towers.encode_states(vectors, types)
    products = towers.encode_products(torch.arange(FIRST, 20), torch.rand(18, 6))
    torch.testing.assert_close(users.norm(dim=-1), torch.full((3, 7), 10.0))
    torch.testing.assert_close(products.norm(dim=-1), torch.ones(18))


def test_new_products_differ_by_their_text_alone() -> None:
    towers = network()
    text = torch.rand(3, 6, generator=torch.Generator().manual_seed(2))
    towers.products.set_centre(text)
    unknown = towers.encode_products(torch.full((3,), UNKNOWN), text)
    assert not torch.allclose(unknown[0], unknown[1])
    same = towers.encode_products(torch.full((2,), UNKNOWN), text[:1].expand(2, 6))
    torch.testing.assert_close(same[0], same[1])


def test_padding_without_text_is_the_zero_vector() -> None:
    towers = network()
    towers.products.set_centre(torch.ones(3, 6))
    assert not towers.encode_products(torch.tensor([PADDING]), torch.zeros(1, 6)).any()


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, text_width=0), replace(CONFIG, blocks=0, gated=True)])
def test_saved_and_loaded_networks_answer_alike(config: TwoTowerConfig, tmp_path: Path) -> None:
    towers = network(config)
    if config.text_width:
        towers.products.set_centre(torch.rand(4, 6))
    towers.save(tmp_path)
    again = TwoTower.load(tmp_path)
    assert again.config == config
    rows, text = torch.arange(20), torch.rand(20, 6) if config.text_width else None
    assert torch.equal(again.encode_products(rows, text), towers.encode_products(rows, text))
    vectors, types = history()
    assert torch.equal(again.encode_states(vectors, types), towers.encode_states(vectors, types))


def test_a_damaged_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"config\.json"):
        TwoTower.load(tmp_path)
    network().save(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"short")
    with pytest.raises(BundleError) as caught:
        TwoTower.load(tmp_path)
    assert "\n" not in str(caught.value)
