"""`recsys train relevance`: from a snapshot's judgments to the component `cross_encoder`."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import PRODUCT_SEARCH, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.errors import SnapshotError
from recsys.models.backbone import resolve_backbone
from recsys.models.cross_encoder import CrossEncoder
from recsys.models.encode import encode_texts, score_pairs
from recsys.models.text_encoder import TextEncoder
from recsys.text.tokenizer import TextTokenizer
from training.journal import MetricLog
from training.relevance.config import RelevanceConfig
from training.relevance.data import join_shops, product_texts, read_pairs
from training.relevance.learn import learn, start_folder
from training.relevance.module import Pairs, mean_ndcg


class RelevanceStage:
    """`recsys train relevance`.

    Args:
        others: snapshots of other shops to learn from as well; the epochs are chosen on the main shop alone.
    """

    name = "relevance"
    kind = PRODUCT_SEARCH
    component = "cross_encoder"
    config_type: type[BaseModel] = RelevanceConfig

    def __init__(self, others: Sequence[Snapshot] = ()) -> None:
        self.others = tuple(others)

    def beside(self, others: Sequence[Snapshot]) -> "RelevanceStage":
        """The same stage, learning from other shops as well."""
        return RelevanceStage(others)

    def train(
        self,
        snapshot: Snapshot,
        *,
        config: BaseModel,
        folder: Path,
        work: Path,
        run: MetricLog,
        base: Bundle | None,
        start: Path | None,
        refit: bool,
    ) -> ComponentInfo:
        """Choose the epochs on the validation part, then learn anew with it; see Stage.

        Raises:
            SnapshotError: there are no judgments to learn from.
        """
        settings = RelevanceConfig.model_validate(config.model_dump())
        source = start_folder(settings, start)
        tokenizer = TextTokenizer.load(source)
        pairs = self.read(snapshot, "train", tokenizer=tokenizer, config=settings)
        judged = read_pairs(snapshot, "validation", tokenizer=tokenizer, config=settings)
        learned = learn(pairs, judged, config=settings, start=source, work=work / "choose", run=run)
        parts, metrics = ["train"], {}
        if judged is not None:
            others = compare(snapshot, judged, base=base, config=settings)
            metrics = {"validation/ndcg@10": learned.result.best_score, **others}
            run.metrics(metrics, step=learned.result.best_epoch)
        best = learned.result.best_epoch
        if refit and judged is not None:
            parts = ["train", "validation"]
            both = self.read(snapshot, *parts, tokenizer=tokenizer, config=settings)
            learned = learn(both, None, config=settings, start=source, work=work / "refit", stop_after=best)
        learned.save(folder)
        also = {"also": [other.manifest.snapshot_id for other in self.others]} if self.others else {}
        return ComponentInfo(
            name=self.component,
            snapshot=snapshot.manifest.snapshot_id,
            metrics=metrics,
            config=settings.model_dump() | {"best_epoch": best} | also,
            parts=parts,
        )

    def read(self, snapshot: Snapshot, *parts: str, tokenizer: TextTokenizer, config: RelevanceConfig) -> Pairs:
        """Pairs of some parts of the main shop, and those of the others.

        Raises:
            SnapshotError: the main shop has none in these parts, or another shop has nothing to add.
        """
        own = read_pairs(snapshot, *parts, tokenizer=tokenizer, config=config)
        if own is None:
            raise SnapshotError(
                f"{snapshot.path} has no judgments in the training part",
                expected="graded query-product pairs",
                action="add queries and judgments to the shop, then run recsys features",
            )
        if not self.others:
            return own
        return join_shops(own, self.others, main=snapshot, tokenizer=tokenizer, config=config)


def compare(snapshot: Snapshot, judged: Pairs, *, base: Bundle | None, config: RelevanceConfig) -> dict[str, float]:
    """NDCG@10 of the validation part by what stood before: the backbone's cosine, and the base's cross-encoder."""
    judgments = snapshot.judgments("validation")
    texts, queries = product_texts(snapshot, judgments, fields=config.fields), judgments["query"].to_list()
    folder = resolve_backbone(config.backbone)
    encoder, reader = TextEncoder.load(folder), TextTokenizer.load(folder)
    cosine = (
        encode_texts(encoder, reader, queries, precision=config.precision)
        * encode_texts(encoder, reader, texts, precision=config.precision)
    ).sum(axis=1)
    found = {"validation/cosine.ndcg@10": mean_ndcg(judged.queries, judged.grades, cosine)}
    before = base and base.component("cross_encoder")
    if before:
        network = CrossEncoder.load(before)
        texts = product_texts(snapshot, judgments, fields=network.fields)
        scores = score_pairs(network, TextTokenizer.load(before), queries, texts, precision=config.precision)
        found["validation/base.ndcg@10"] = mean_ndcg(judged.queries, judged.grades, scores)
    return found
