"""`recsys train retriever`: from a snapshot's judgments, events and products to the component `text_encoder`."""

from pathlib import Path

from pydantic import BaseModel

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import PRODUCT_SEARCH, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.errors import SnapshotError, UsageError
from recsys.models.backbone import resolve_backbone
from recsys.models.text_encoder import TextEncoder
from recsys.text.tokenizer import TextTokenizer
from training.journal import MetricLog
from training.retriever.config import RetrieverConfig
from training.retriever.data import read_examples, read_judged
from training.retriever.examples import Examples
from training.retriever.learn import cosine_ndcg, learn, truncate


class RetrieverStage:
    """`recsys train retriever`."""

    name = "retriever"
    kind = PRODUCT_SEARCH
    component = "text_encoder"
    config_type: type[BaseModel] = RetrieverConfig

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
            SnapshotError: there are no positives to learn from.
            UsageError: a cross-encoder is to be asked and the base has none, or there are no such dimensions.
        """
        settings = RetrieverConfig.model_validate(config.model_dump())
        source = resolve_backbone(settings.backbone) if start is None else start
        tokenizer = TextTokenizer.load(source)
        stood = TextEncoder.load(source, layers=settings.layers)
        check_widths(settings, full=stood.backbone.width, products=snapshot.manifest.counts.get("catalogue", 0))
        teacher = find_teacher(base, config=settings)

        def read(*parts: str) -> Examples | None:
            return read_examples(
                snapshot,
                *parts,
                tokenizer=tokenizer,
                config=settings,
                encoder=source,
                teacher=teacher,
                work=work / "negatives",
            )

        examples = read("train")
        judged = read_judged(snapshot, "validation", tokenizer=tokenizer, config=settings)
        if examples is None:
            raise SnapshotError(
                f"{snapshot.path} has too few positive pairs in the training part",
                expected=f"judgments of at least {settings.least:.0%} of the best grade",
                action="add judgments to the shop, or learn from others: --set search_events=true or pseudo_queries=4",
            )
        network, result = learn(examples, judged, config=settings, start=source, work=work / "choose", run=run)
        texts = snapshot.catalogue().texts()
        metrics = truncate(network, tokenizer, texts, config=settings)
        parts = ["train"]
        if judged is not None:
            before = cosine_ndcg(stood, tokenizer, judged, precision=settings.precision)
            after = result.best_score
            if settings.dimensions is not None:
                after = cosine_ndcg(network, tokenizer, judged, precision=settings.precision)
            metrics |= {"validation/ndcg@10": after, "validation/start.ndcg@10": before}
        run.metrics(metrics, step=result.best_epoch)
        if refit and (judged is not None or settings.search_events):
            parts = ["train", "validation"]
            both = read(*parts) or examples
            best = result.best_epoch
            network, _ = learn(both, None, config=settings, start=source, work=work / "refit", stop_after=best)
            truncate(network, tokenizer, texts, config=settings)
        network.save(folder)
        tokenizer.save(folder)
        return ComponentInfo(
            name=self.component,
            snapshot=snapshot.manifest.snapshot_id,
            metrics=metrics,
            config=settings.model_dump() | {"best_epoch": result.best_epoch},
            parts=parts,
        )


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
