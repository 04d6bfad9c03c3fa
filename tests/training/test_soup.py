"""Soups: the average of what several seeds learned, and the greedy choice among them."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from feature_store.snapshot import Snapshot
from recsys.errors import UsageError
from recsys.models.encode import infer
from recsys.text.tokenizer import TextTokenizer
from training.relevance.config import RelevanceConfig
from training.relevance.data import read_pairs
from training.relevance.learn import learn
from training.relevance.members import learn_members
from training.relevance.module import Pairs, mean_ndcg
from training.relevance.soup import average, greedy, learn_soup


def config_of(**values: object) -> RelevanceConfig:
    given = {"epochs": 2, "batch_size": 16, "learning_rate": 0.02, "max_length": 24, "precision": "fp32", "patience": 0}
    return RelevanceConfig.model_validate(given | values)


def parts_of(snapshot: Snapshot, backbone: Path) -> tuple[Pairs, Pairs]:
    tokenizer = TextTokenizer.load(backbone)
    train, judged = (
        read_pairs(snapshot, part, tokenizer=tokenizer, config=config_of()) for part in ("train", "validation")
    )
    assert train is not None
    assert judged is not None
    return train, judged


def test_the_mean_of_weights_by_hand() -> None:
    first = {"a": torch.tensor([1.0, 2.0]), "count": torch.tensor(3)}
    second = {"a": torch.tensor([3.0, 6.0]), "count": torch.tensor(5)}
    found = average([first, second])
    assert found["a"].tolist() == [2.0, 4.0]
    assert found["count"].item() == 3


def test_a_greedy_soup_takes_what_does_not_harm() -> None:
    """Members of .5, .7, .6, .4: the best first, then each whose average with the kept ones is not worse."""
    tasted: list[tuple[int, ...]] = []

    def taste(numbers: Sequence[int]) -> float:
        tasted.append(tuple(numbers))
        return {(1, 2): 0.65, (1, 0): 0.7, (1, 0, 3): 0.69}[tuple(numbers)]

    assert greedy([0.5, 0.7, 0.6, 0.4], taste=taste) == [1, 0]
    assert tasted == [(1, 2), (1, 0), (1, 0, 3)]
    assert greedy([0.5], taste=taste) == [0]
    assert greedy([0.5, 0.5], taste=lambda numbers: 0.4) == [0]


def test_a_soup_of_one_is_a_single_run(small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path) -> None:
    train, judged = parts_of(small_snapshot, tiny_backbone)
    alone = learn(train, judged, config=config_of(), start=tiny_backbone, work=tmp_path / "alone")
    soup = learn_soup(train, judged, config=config_of(), start=tiny_backbone, work=tmp_path / "soup")
    assert soup.epochs == {0: alone.result.best_epoch}
    assert soup.learned.result == alone.result
    mine, theirs = alone.network.state_dict(), soup.learned.network.state_dict()
    assert all(mine[name].equal(theirs[name]) for name in mine)


def test_a_uniform_soup_is_the_average_of_its_runs(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    train, judged = parts_of(small_snapshot, tiny_backbone)
    config = config_of(soup=3, seed=4)
    soup = learn_soup(train, judged, config=config, start=tiny_backbone, work=tmp_path / "soup")
    assert set(soup.epochs) == {4, 5, 6}
    configs = [config.model_copy(update={"seed": seed}) for seed in (4, 5, 6)]
    runs = [
        learn(train, judged, config=one, start=tiny_backbone, work=tmp_path / f"run{one.seed}", head=4)
        for one in configs
    ]
    assert len({run.result.losses for run in runs}) == 3
    wanted = average([run.network.state_dict() for run in runs])
    found = soup.learned.network.state_dict()
    assert all(found[name].equal(wanted[name]) for name in wanted)
    scores = infer(soup.learned.network, soup.learned.tokenizer, judged.tokens, precision="fp32")
    assert soup.learned.result.best_score == mean_ndcg(judged.queries, judged.grades, scores)


def test_a_greedy_soup_is_no_worse_than_its_best_run(
    small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    """And its refit learns anew the runs that were chosen, for the epochs that were theirs."""
    train, judged = parts_of(small_snapshot, tiny_backbone)
    config = config_of(soup=3, soup_by="greedy", epochs=3)
    soup = learn_soup(train, judged, config=config, start=tiny_backbone, work=tmp_path / "choose")
    configs = [config.model_copy(update={"seed": seed}) for seed in range(3)]
    runs = [
        learn(train, judged, config=one, start=tiny_backbone, work=tmp_path / f"run{one.seed}", head=0)
        for one in configs
    ]
    best = max(run.result.best_score for run in runs)
    assert soup.learned.result.best_score >= best
    again = learn_soup(train, None, config=config, start=tiny_backbone, work=tmp_path / "refit", epochs=soup.epochs)
    assert again.epochs == soup.epochs


@pytest.mark.parametrize("given", [{}, {"epochs": {0: 1, 2: 2}}])
def test_without_a_validation_part_all_are_averaged(
    given: dict[str, dict[int, int]], small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path
) -> None:
    train, _ = parts_of(small_snapshot, tiny_backbone)
    config = config_of(soup=2, soup_by="greedy")
    soup = learn_soup(train, None, config=config, start=tiny_backbone, work=tmp_path, **given)
    assert soup.epochs == given.get("epochs", {0: 2, 1: 2})


def test_a_soup_is_one_network(small_snapshot: Snapshot, tiny_backbone: Path, tmp_path: Path) -> None:
    """Several members that score together can't be averaged as well; a refit averages the same seeds."""
    train, judged = parts_of(small_snapshot, tiny_backbone)
    with pytest.raises(UsageError, match="members = 2 and soup = 2"):
        learn_members(train, judged, config=config_of(members=2, soup=2), start=tiny_backbone, work=tmp_path)
    config = config_of(soup=2)
    made = learn_members(train, judged, config=config, start=tiny_backbone, work=tmp_path / "choose")
    assert len(made.learned) == 1
    assert made.measured(judged, precision="fp32") == {"validation/ndcg@10": made.learned[0].result.best_score}
    given = {"stop_after": made.best_epochs, "soup": made.soup}
    again = learn_members(train, None, config=config, start=tiny_backbone, work=tmp_path / "refit", **given)
    assert again.soup == made.soup
