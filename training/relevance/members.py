"""One network, or several with seeds of their own that score together."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recsys.errors import UsageError
from recsys.models.cross_encoder import SETTINGS
from recsys.models.encode import Precision, infer
from recsys.models.ensemble import MEMBERS, CrossEncoderEnsemble, PairNetwork, member_folders
from recsys.text.tokenizer import TextTokenizer
from training.fit import FitResult
from training.metric_log import MetricLog
from training.relevance.config import RelevanceConfig
from training.relevance.learn import Learned, learn, new_network
from training.relevance.module import Pairs, mean_ndcg
from training.relevance.soup import learn_soup


@dataclass(frozen=True, slots=True)
class OfMember:
    """A log that puts a member's name before its metrics."""

    log: MetricLog
    name: str

    def metrics(self, values: Mapping[str, float], *, step: int) -> None:
        """Pass the values on under their longer names."""
        self.log.metrics({f"{self.name}/{name}": value for name, value in values.items()}, step=step)


@dataclass(frozen=True, slots=True)
class Members:
    """The networks of one component.

    Attributes:
        learned: one or more.
        soup: by seed, the epochs of each run whose weights are averaged in a single network.
    """

    learned: tuple[Learned, ...]
    soup: Mapping[int, int] = field(default_factory=dict)

    @property
    def tokenizer(self) -> TextTokenizer:
        """Of all."""
        return self.learned[0].tokenizer

    @property
    def network(self) -> PairNetwork:
        """What scores: the network, or all of them by the mean of their logits; in evaluation mode."""
        if len(self.learned) == 1:
            return self.learned[0].network.eval()
        return CrossEncoderEnsemble([one.network for one in self.learned]).eval()

    @property
    def best_epochs(self) -> tuple[int, ...]:
        """Of each."""
        return tuple(one.result.best_epoch for one in self.learned)

    def measured(self, judged: Pairs, *, precision: Precision) -> dict[str, float]:
        """NDCG@10 of the judged pairs, by all members together and by a member in the mean.

        One network whose epoch was chosen by them has been measured there.
        """
        alone = [one.result.best_score for one in self.learned]
        if len(alone) == 1 and not math.isnan(alone[0]):
            return {"validation/ndcg@10": alone[0]}
        scores = infer(self.network, self.tokenizer, judged.tokens, precision=precision)
        together = {"validation/ndcg@10": mean_ndcg(judged.queries, judged.grades, scores)}
        mean = sum(alone) / len(alone)
        return together if math.isnan(mean) else together | {"validation/member.ndcg@10": mean}

    def save(self, folder: Path) -> None:
        """Write the component: a cross-encoder, or an ensemble whose members are cross-encoders of their own."""
        if len(self.learned) == 1:
            self.learned[0].save(folder)
            return
        CrossEncoderEnsemble([one.network for one in self.learned]).save(folder)
        for place in (folder, *member_folders(folder)):
            self.tokenizer.save(place)


def learn_members(
    train: Pairs,
    judged: Pairs | None,
    *,
    config: RelevanceConfig,
    start: Path,
    work: Path,
    run: MetricLog | None = None,
    stop_after: Sequence[int] = (),
    soup: Mapping[int, int] | None = None,
) -> Members:
    """As `learn`, once for each member: member i has seed + i and starts from the start's member i, in turn.

    A single network may be a soup.

    Args:
        train: as for `learn`, like the others.
        judged: chooses the epoch of each.
        config: of the run; `members` says how many.
        start: a backbone, a cross-encoder or an ensemble.
        work: folder of the checkpoints.
        run: receives the metrics of each epoch.
        stop_after: epochs of each; none runs all.
        soup: of the members that were learned before, where these are learned anew as those were.

    Raises:
        UsageError: several members and a soup are asked for at once.
    """
    starts = member_folders(start)
    if config.members == 1:
        made = learn_soup(train, judged, config=config, start=starts[0], work=work, run=run, epochs=soup)
        return Members((made.learned,), soup=made.epochs)
    if config.soup > 1:
        raise UsageError(
            f"members = {config.members} and soup = {config.soup}",
            expected="several networks that score together, or one that is their average",
            action="set one of them to 1",
        )
    learned = []
    for number in range(config.members):
        name = f"{MEMBERS}/{number}"
        one = learn(
            train,
            judged,
            config=config.model_copy(update={"seed": config.seed + number}),
            start=starts[number % len(starts)],
            work=work / name,
            run=None if run is None else OfMember(run, name),
            stop_after=stop_after[number] if stop_after else 0,
        )
        learned.append(one)
    return Members(tuple(learned))


def untrained(config: RelevanceConfig, start: Path) -> Members:
    """The start as it is, where there is nothing to learn.

    Raises:
        UsageError: it is no cross-encoder.
    """
    folders = member_folders(start)
    if not (folders[0] / SETTINGS).is_file():
        raise UsageError(
            "label_share = 0, no other shop and no model to start from: nothing to learn a cross-encoder from",
            expected="--init with a cross-encoder, or --also with another shop's judgments",
            action="name one; without either the stock text encoder's cosine ranks, it needs no labels",
        )
    tokenizer, nothing = TextTokenizer.load(start), FitResult(0, math.nan, (), ())
    return Members(tuple(Learned(new_network(config, place).eval(), tokenizer, nothing) for place in folders))
