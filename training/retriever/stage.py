"""`recsys train retriever`: from a snapshot's judgments to the component `text_encoder`."""

from pathlib import Path

from pydantic import BaseModel

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import PRODUCT_SEARCH, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.errors import SnapshotError
from recsys.models.backbone import resolve_backbone
from recsys.models.encode import Precision, infer
from recsys.models.text_encoder import TextEncoder
from recsys.text.tokenizer import TextTokenizer
from training.fit import FitResult, fit, seed_all
from training.journal import MetricLog
from training.relevance.module import mean_ndcg
from training.retriever.config import RetrieverConfig
from training.retriever.data import read_judged
from training.retriever.module import Judged, RetrieverModule, loaders


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
            SnapshotError: there are no positive judgments to learn from.
        """
        settings = RetrieverConfig.model_validate(config.model_dump())
        source = resolve_backbone(settings.backbone) if start is None else start
        tokenizer = TextTokenizer.load(source)
        pairs = read_judged(snapshot, "train", tokenizer=tokenizer, config=settings, least=settings.least)
        judged = read_judged(snapshot, "validation", tokenizer=tokenizer, config=settings)
        if pairs is None or len(pairs) < 2:
            raise SnapshotError(
                f"{snapshot.path} has too few positive judgments in the training part",
                expected=f"pairs of at least {settings.least:.0%} of the best grade",
                action="add queries and judgments to the shop, then run recsys features",
            )
        network, result = learn(pairs, judged, config=settings, start=source, work=work / "choose", run=run)
        parts, metrics = ["train"], {}
        if judged is not None:
            stood = TextEncoder.load(source, layers=settings.layers)
            before = cosine_ndcg(stood, tokenizer, judged, precision=settings.precision)
            metrics = {"validation/ndcg@10": result.best_score, "validation/start.ndcg@10": before}
            run.metrics(metrics, step=result.best_epoch)
        if refit and judged is not None:
            parts = ["train", "validation"]
            both = read_judged(snapshot, *parts, tokenizer=tokenizer, config=settings, least=settings.least)
            network, _ = learn(
                both or pairs, None, config=settings, start=source, work=work / "refit", stop_after=result.best_epoch
            )
        network.save(folder)
        tokenizer.save(folder)
        return ComponentInfo(
            name=self.component,
            snapshot=snapshot.manifest.snapshot_id,
            metrics=metrics,
            config=settings.model_dump() | {"best_epoch": result.best_epoch},
            parts=parts,
        )


def learn(
    train: Judged,
    judged: Judged | None,
    *,
    config: RetrieverConfig,
    start: Path,
    work: Path,
    run: MetricLog | None = None,
    stop_after: int = 0,
) -> tuple[TextEncoder, FitResult]:
    """One run from the start's weights; arguments as in `training.relevance.learn.learn`."""
    seed_all(config.seed)
    network = TextEncoder.load(start, layers=config.layers)
    network.max_length = config.max_length
    first, second, steps = loaders(train, judged, tokenizer=TextTokenizer.load(start), config=config)
    module = RetrieverModule(network, config=config, steps=steps, positives=train, judged=judged)
    result = fit(
        module,
        train=first,
        validation=second,
        config=config,
        folder=work,
        log=run,
        monitor="validation/ndcg@10" if judged is not None else "",
        stop_after=stop_after,
    )
    return network.eval(), result


def cosine_ndcg(
    network: TextEncoder, tokenizer: TextTokenizer, judged: Judged, *, precision: Precision = "auto"
) -> float:
    """NDCG@10 of the judged pairs by the cosine of an encoder's vectors."""
    queries, products = (
        infer(network, tokenizer, texts, precision=precision) for texts in (judged.queries, judged.products)
    )
    scores = (queries[judged.query] * products[judged.product]).sum(axis=1)
    return mean_ndcg(judged.query, judged.grades, scores)
