"""`recsys train relevance`: from a snapshot's judgments to the component `cross_encoder`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import PRODUCT_SEARCH, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.models.backbone import resolve_backbone
from recsys.models.encode import encode_texts, score_pairs
from recsys.models.ensemble import load_cross_encoder
from recsys.models.text_encoder import TextEncoder
from recsys.ranking.held_out import write_held_out
from recsys.registry.client import Registry
from recsys.settings import Settings
from recsys.text.tokenizer import TextTokenizer
from training.metric_log import MetricLog
from training.relevance.config import RelevanceConfig
from training.relevance.data import product_texts, read_pairs
from training.relevance.held_out import score_folds, score_unseen
from training.relevance.learn import start_folder
from training.relevance.members import learn_members, untrained
from training.relevance.module import Pairs, mean_ndcg
from training.relevance.others import learn_others
from training.relevance.sources import Reader, Sources, refuse_uniform


class RelevanceStage:
    """`recsys train relevance`.

    Args:
        sources: what to learn from beside the snapshot; the epochs are chosen on the main shop alone.
    """

    name = "relevance"
    kind = PRODUCT_SEARCH
    component = "cross_encoder"
    config_type: type[BaseModel] = RelevanceConfig

    def __init__(self, sources: Sources | None = None) -> None:
        self.sources = sources or Sources()

    def beside(self, others: Sequence[Snapshot]) -> "RelevanceStage":
        """The same stage, learning from other shops as well."""
        return RelevanceStage(replace(self.sources, others=tuple(others)))

    def looking_up(
        self, config: BaseModel, *, start: Path | None, registry: Registry, settings: Settings
    ) -> "RelevanceStage":
        """The same stage with the teachers and the past that the settings name."""
        given = RelevanceConfig.model_validate(config.model_dump())
        return RelevanceStage(self.sources.found(given, start=start, registry=registry, settings=settings))

    def told(self) -> Mapping[str, Any]:
        """What a bundle records of the sources."""
        return self.sources.told()

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

        Where no label is asked for (label_share=0) the validation part is measured and chooses nothing.

        Raises:
            NothingToLearnError: there are no judgments to learn from, or all of them say the same.
            UsageError: no label is asked for and there is nothing else to learn from or to start from.
        """
        settings = RelevanceConfig.model_validate(config.model_dump())
        source = start_folder(settings, start)
        reader = Reader(snapshot, self.sources, TextTokenizer.load(source), settings, work)
        pairs = reader.pairs("train")
        refuse_uniform(pairs, snapshot=snapshot, config=settings)
        judged = read_pairs(snapshot, "validation", tokenizer=reader.tokenizer, config=settings)
        labelled = settings.label_share > 0
        source = learn_others(reader, start=source, work=work / "others", run=run)
        learned = (
            untrained(settings, source)
            if pairs is None
            else learn_members(
                pairs, judged if labelled else None, config=settings, start=source, work=work / "choose", run=run
            )
        )
        parts, metrics, unseen = ["train"] if labelled else [], {}, None
        if judged is not None:
            unseen = score_unseen(learned, judged, reader=reader)
            others = compare(snapshot, judged, base=base, config=settings)
            metrics = learned.measured(judged, precision=settings.precision) | others
            run.metrics(metrics, step=max(learned.best_epochs))
        if refit and labelled and pairs is not None and judged is not None:
            parts, best = ["train", "validation"], learned.best_epochs
            both = reader.pairs(*parts) or pairs
            if settings.held_out_folds > 1:
                unseen = score_folds(reader, both, parts, start=source, work=work / "held-out", before=learned)
            learned = learn_members(
                both, None, config=settings, start=source, work=work / "refit", stop_after=best, soup=learned.soup
            )
        learned.save(folder)
        if unseen is not None:
            write_held_out(folder, unseen)
        epochs = learned.best_epochs
        return ComponentInfo(
            name=self.component,
            snapshot=snapshot.manifest.snapshot_id,
            metrics=metrics,
            config=settings.model_dump()
            | {"best_epoch": epochs[0] if len(epochs) == 1 else list(epochs)}
            | ({"soup_epochs": {str(seed): count for seed, count in learned.soup.items()}} if settings.soup > 1 else {})
            | self.sources.told(),
            parts=parts,
        )


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
        network = load_cross_encoder(before)
        texts = product_texts(snapshot, judgments, fields=network.fields)
        scores = score_pairs(network, TextTokenizer.load(before), queries, texts, precision=config.precision)
        found["validation/base.ndcg@10"] = mean_ndcg(judged.queries, judged.grades, scores)
    return found
