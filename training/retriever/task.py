"""One training of the retriever with everything looked up: where it starts, what it reads, who teaches it."""

from dataclasses import dataclass
from pathlib import Path

from feature_store.snapshot import Snapshot
from recsys.bundle.read import Bundle
from recsys.errors import NothingToLearnError, UsageError
from recsys.models.backbone import resolve_backbone
from recsys.models.text_encoder import TextEncoder
from recsys.text.tokenizer import TextTokenizer
from training.retriever.config import RetrieverConfig
from training.retriever.data import read_examples, read_judged
from training.retriever.examples import Examples, Judged
from training.retriever.learn import cosine_ndcg, truncate


@dataclass(frozen=True, slots=True)
class Task:
    """One training with everything looked up.

    Attributes:
        snapshot: what is learned from.
        config: of the run.
        source: folder of the encoder that training starts from.
        tokenizer: of that folder.
        stood: that encoder, as it stood before.
        teacher: folder of the cross-encoder that is asked; None where none is.
        work: keeps what is mined.
    """

    snapshot: Snapshot
    config: RetrieverConfig
    source: Path
    tokenizer: TextTokenizer
    stood: TextEncoder
    teacher: Path | None
    work: Path

    @classmethod
    def open(
        cls, snapshot: Snapshot, *, config: RetrieverConfig, base: Bundle | None, start: Path | None, work: Path
    ) -> "Task":
        """Look everything up; arguments as of Stage."""
        source = resolve_backbone(config.backbone) if start is None else start
        stood = TextEncoder.load(source, layers=config.layers)
        check_widths(config, full=stood.backbone.width, products=snapshot.manifest.counts.get("catalogue", 0))
        teacher = find_teacher(base, config=config)
        return cls(snapshot, config, source, TextTokenizer.load(source), stood, teacher, work / "negatives")

    def read(self, *parts: str) -> Examples | None:
        """What the parts teach, with negatives; None where that is less than two pairs."""
        return read_examples(
            self.snapshot,
            *parts,
            tokenizer=self.tokenizer,
            config=self.config,
            encoder=self.source,
            teacher=self.teacher,
            work=self.work,
        )

    def first(self) -> Examples:
        """What the training part teaches.

        Raises:
            NothingToLearnError: less than two pairs.
        """
        found = self.read("train")
        if found is None:
            raise NothingToLearnError(
                f"{self.snapshot.path} has too few positive pairs in the training part",
                expected=f"judgments of at least {self.config.least:.0%} of the best grade",
                action="add judgments to the shop, or learn from others: --set search_events=true or pseudo_queries=4",
            )
        return found

    def judged(self, *parts: str) -> Judged | None:
        """All judged pairs of the parts, in the order of the snapshot's judgments; None where there are none."""
        return read_judged(self.snapshot, *parts, tokenizer=self.tokenizer, config=self.config)

    def finish(self, network: TextEncoder) -> dict[str, float]:
        """Shorten the network's vectors; see `truncate`."""
        return truncate(network, self.tokenizer, self.snapshot.catalogue().texts(), config=self.config)

    def measure(self, network: TextEncoder, judged: Judged) -> dict[str, float]:
        """NDCG@10 of the validation part, now and before."""
        now, before = (
            cosine_ndcg(one, self.tokenizer, judged, precision=self.config.precision) for one in (network, self.stood)
        )
        return {"validation/ndcg@10": now, "validation/start.ndcg@10": before}


def find_teacher(base: Bundle | None, *, config: RetrieverConfig) -> Path | None:
    """The folder of the base's cross-encoder, None where it is not asked.

    Raises:
        UsageError: it is asked, and there is none.
    """
    if not config.asks_judge:
        return None
    found = None if base is None else base.component("cross_encoder")
    if found is None:
        raise UsageError(
            "margin_mse, kl or max_relevance, but no cross-encoder to ask",
            expected="a base with one",
            action="run `recsys train relevance` first, or name one with --base",
        )
    return found


def check_widths(config: RetrieverConfig, *, full: int, products: int) -> None:
    """Refuse dimensions that a vector does not have, or that so few products can't span."""
    asked = [*config.matryoshka, *([config.dimensions] if config.dimensions else [])]
    projected = config.dimensions is not None and config.truncation != "prefix"
    most = min(full, products) if projected else full
    if asked and max(asked) > most:
        raise UsageError(
            f"{max(asked)} dimensions",
            expected=f"at most {most}: the encoder is {full} wide and there are {products} products",
            action="set dimensions and matryoshka within that",
        )
