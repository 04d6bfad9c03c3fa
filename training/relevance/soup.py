"""A soup: runs from the same weights with other seeds, and the average of what they learned."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

import torch
from torch import Tensor

from recsys.models.cross_encoder import CrossEncoder
from recsys.models.encode import infer
from recsys.text.tokenizer import TextTokenizer
from training.metric_log import MetricLog
from training.relevance.config import RelevanceConfig
from training.relevance.learn import Learned, learn
from training.relevance.module import Pairs, mean_ndcg

Weights = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Soup:
    """What was averaged.

    Attributes:
        learned: the averaged network; its result is that of the first run but for the score, which is the soup's.
        epochs: by seed, the epochs of each run that is in it.
    """

    learned: Learned
    epochs: Mapping[int, int]


def learn_soup(
    train: Pairs,
    judged: Pairs | None,
    *,
    config: RelevanceConfig,
    start: Path,
    work: Path,
    run: MetricLog | None = None,
    epochs: Mapping[int, int] | None = None,
) -> Soup:
    """`config.soup` runs from one start, and their average; a single run is `learn` and nothing else.

    Args:
        train: as in `learn`.
        judged: as in `learn`; also what a greedy soup is chosen by, which without it takes all.
        config: of the runs; the first has its seed, each further one the next.
        start: as in `learn`; a new head is the same for all, or their average would mean nothing.
        work: folder of the runs' checkpoints.
        run: receives the metrics of the first run's epochs.
        epochs: the epochs of each seed's run, where an earlier soup chose them; None runs `config.soup` seeds.

    Source: Wortsman et al. 2022 (arXiv 2203.05482), uniform and greedy soup.
    """
    if config.soup == 1:
        stop = epochs[config.seed] if epochs else 0
        alone = learn(train, judged, config=config, start=start, work=work, run=run, stop_after=stop)
        return Soup(alone, {config.seed: alone.result.best_epoch})
    seeds = list(epochs) if epochs else [config.seed + number for number in range(config.soup)]
    members = [
        learn(
            train,
            judged,
            config=config.model_copy(update={"seed": seed}),
            start=start,
            work=work / f"seed{seed}",
            run=run if seed == seeds[0] else None,
            stop_after=epochs[seed] if epochs else 0,
            head=config.seed,
        )
        for seed in seeds
    ]
    network, tokenizer = members[0].network, members[0].tokenizer
    weights = [copied(member.network.state_dict()) for member in members]

    def taste(numbers: Sequence[int]) -> float:
        network.load_state_dict(average([weights[number] for number in numbers]))
        return nan if judged is None else validate(network, judged, tokenizer=tokenizer, config=config)

    chosen = list(range(len(seeds)))
    if config.soup_by == "greedy" and judged is not None:
        chosen = greedy([member.result.best_score for member in members], taste=taste)
    result = dataclasses.replace(members[0].result, best_score=taste(chosen))
    found = {seeds[number]: members[number].result.best_epoch for number in chosen}
    return Soup(Learned(network, tokenizer, result), found)


def greedy(scores: Sequence[float], *, taste: Callable[[Sequence[int]], float]) -> list[int]:
    """The best one, and from the second best on each that the average is not worse with.

    Args:
        scores: of the members alone.
        taste: the score of the average of some members.

    Returns:
        Their numbers in the order they were taken.
    """
    order = sorted(range(len(scores)), key=lambda number: (-scores[number], number))
    kept, best = order[:1], scores[order[0]]
    for number in order[1:]:
        score = taste([*kept, number])
        if score >= best:
            kept, best = [*kept, number], score
    return kept


def average(weights: Sequence[Weights]) -> dict[str, Tensor]:
    """The mean of each weight; what counts in whole numbers is the first's."""
    first = weights[0]
    return {
        name: torch.stack([one[name] for one in weights]).mean(dim=0) if value.is_floating_point() else value.clone()
        for name, value in first.items()
    }


def copied(weights: Weights) -> dict[str, Tensor]:
    """The weights, which training or loading can no longer change."""
    return {name: value.detach().clone() for name, value in weights.items()}


def validate(network: CrossEncoder, judged: Pairs, *, tokenizer: TextTokenizer, config: RelevanceConfig) -> float:
    """NDCG@10 of the validation pairs."""
    scores = infer(network, tokenizer, judged.tokens, precision=config.precision)
    return mean_ndcg(judged.queries, judged.grades, scores)
