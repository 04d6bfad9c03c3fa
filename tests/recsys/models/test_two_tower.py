"""The two-tower network: causality, padding, batches, text, saving."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recsys.errors import BundleError
from recsys.models.two_tower import TwoTower
from recsys.models.two_tower_config import FIRST, PADDING, UNKNOWN, TwoTowerConfig
from recsys.models.user_tower import MICROSECONDS_A_MINUTE, span_buckets

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


TIMED = replace(CONFIG, distances=True, spans=16)


def timed_network(config: TwoTowerConfig = TIMED) -> TwoTower:
    """A network whose attention listens to time and distance; untrained, it would not."""
    towers = network(config)
    with torch.no_grad():
        for embedding in (towers.users.distance, towers.users.span):
            if embedding is not None:
                embedding.weight.normal_(std=2.0, generator=torch.Generator().manual_seed(3))
    return towers


def value_of(towers: TwoTower) -> float:
    """The temperature as a number."""
    return float(torch.as_tensor(towers.temperature()).detach())


def test_the_bucket_of_a_span_doubles_from_a_minute_on() -> None:
    minutes = torch.tensor([[0.0, 0.5, 1.0, 3.0, 5.0, 1000.0]])
    found = span_buckets((minutes * MICROSECONDS_A_MINUTE).long(), buckets=6)[0]
    assert found[:, 0].tolist() == [0, 0, 1, 2, 3, 5]
    assert found[0].tolist() == [0] * 6
    assert found[4, 2].item() == 3  # four minutes
    assert found[4, 3].item() == 2


def test_only_the_time_between_events_counts() -> None:
    towers = timed_network()
    vectors, types = history()
    times = torch.arange(7).expand(3, 7) * 3_600_000_000
    before = towers.encode_states(vectors, types, times)
    torch.testing.assert_close(towers.encode_states(vectors, types, times + 12_345), before)
    assert not torch.allclose(towers.encode_states(vectors, types, times // 60)[:, 1:], before[:, 1:])
    late = times.clone()
    late[:, 4:] += 86_400_000_000
    torch.testing.assert_close(towers.encode_states(vectors, types, late)[:, :4], before[:, :4])
    assert not torch.allclose(towers.encode_states(vectors, types, late)[:, 4:], before[:, 4:])


def test_distance_tells_the_order_that_nothing_else_does() -> None:
    vectors, types = history()
    lengths = torch.full((3,), 7)
    swapped = vectors[:, [1, 0, *range(2, 7)]], types[:, [1, 0, *range(2, 7)]]
    without, towers = (
        timed_network(replace(CONFIG, positions=False, blocks=1, distances=distances)) for distances in (False, True)
    )
    torch.testing.assert_close(without.encode_users(vectors, types, lengths), without.encode_users(*swapped, lengths))
    assert not torch.allclose(towers.encode_users(vectors, types, lengths), towers.encode_users(*swapped, lengths))


def test_a_learned_temperature_starts_at_the_one_given_and_stays_in_bounds() -> None:
    towers = network(replace(CONFIG, similarity="cosine", temperature=0.1, learned_temperature=True))
    assert value_of(towers) == pytest.approx(0.1)
    assert towers.log_temperature is not None
    vectors, types = history()
    towers.encode_states(vectors, types).sum().backward()
    assert towers.log_temperature.grad is not None
    for value, held in ((-9.0, 0.01), (2.0, 1.0)):
        with torch.no_grad():
            towers.log_temperature.fill_(value)
        assert value_of(towers) == pytest.approx(held)


def test_coded_features_add_their_embeddings_and_an_unknown_code_adds_nothing() -> None:
    towers = network(replace(CONFIG, codes=(4, 3)))
    rows, text = torch.tensor([2, 2, 2]), torch.rand(1, 6).expand(3, 6)
    plain = towers.encode_products(rows, text)
    found = towers.encode_products(rows, text, torch.tensor([[0, 0], [3, 0], [3, 2]]))
    torch.testing.assert_close(found[0], plain[0])
    first, second = (embedding.weight for embedding in towers.products.features)
    torch.testing.assert_close(found[1], plain[0] + first[3])
    torch.testing.assert_close(found[2], plain[0] + first[3] + second[2])


def test_an_unknown_attribute_of_a_user_adds_nothing_and_a_known_one_counts_in_every_state() -> None:
    towers, (vectors, types) = network(replace(CONFIG, attributes=(4, 3))), history()
    plain = towers.encode_states(vectors, types)
    torch.testing.assert_close(towers.encode_states(vectors, types, None, torch.zeros(3, 2, dtype=torch.long)), plain)
    with torch.no_grad():
        towers.users.attributes[1].weight[2] += 3.0 * torch.randn(CONFIG.width)
    found = towers.encode_states(vectors, types, None, torch.tensor([[0, 0], [0, 2], [0, 0]]))
    changed = (found - plain).abs().amax(dim=2) > 1e-4
    assert changed.tolist() == [[False] * 7, [True] * 7, [False] * 7]


def test_what_kind_an_event_is_counts_from_its_state_on() -> None:
    towers, (vectors, types) = network(), history(batch=1)
    other = types.clone()
    other[0, 3] = (types[0, 3] + 1) % 8
    changed = (towers.encode_states(vectors, other) - towers.encode_states(vectors, types)).abs().amax(dim=2) > 1e-6
    assert changed.tolist() == [[False] * 3 + [True] * 4]


def test_a_network_with_all_parts_is_saved_and_loaded(tmp_path: Path) -> None:
    config = replace(TIMED, codes=(4, 3), attributes=(5, 2), similarity="cosine", learned_temperature=True)
    timed_network(config).save(tmp_path)
    assert TwoTower.load(tmp_path).config == config
