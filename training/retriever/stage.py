"""`recsys train retriever`: from a snapshot's judgments, events and products to the component `text_encoder`."""

from pathlib import Path

from pydantic import BaseModel

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import PRODUCT_SEARCH, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.ranking.held_out import write_held_out
from training.metric_log import MetricLog
from training.retriever.config import RetrieverConfig
from training.retriever.held_out import score_folds, score_unseen
from training.retriever.learn import learn
from training.retriever.task import Task


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

        Cosines of judged pairs by encoders that had not learned from their queries are kept beside the weights.

        Raises:
            NothingToLearnError: there are no positives to learn from.
            UsageError: a cross-encoder is to be asked and the base has none, or there are no such dimensions.
        """
        settings = RetrieverConfig.model_validate(config.model_dump())
        task = Task.open(snapshot, config=settings, base=base, start=start, work=work)
        examples = task.first()
        judged = task.judged("validation")
        network, result = learn(examples, judged, config=settings, start=task.source, work=work / "choose", run=run)
        metrics, parts, unseen = task.finish(network), ["train"], None
        if judged is not None:
            metrics |= task.measure(network, judged)
            unseen = score_unseen(task, network, judged)
        run.metrics(metrics, step=result.best_epoch)
        if refit and (judged is not None or settings.search_events):
            parts = ["train", "validation"]
            both, best = task.read(*parts) or examples, result.best_epoch
            if settings.held_out_folds:
                unseen = score_folds(task, both, parts, work=work / "held-out", epochs=best)
            network, _ = learn(both, None, config=settings, start=task.source, work=work / "refit", stop_after=best)
            task.finish(network)
        network.save(folder)
        task.tokenizer.save(folder)
        if unseen is not None:
            write_held_out(folder, unseen, score="cosine")
        return ComponentInfo(
            name=self.component,
            snapshot=snapshot.manifest.snapshot_id,
            metrics=metrics,
            config=settings.model_dump() | {"best_epoch": result.best_epoch},
            parts=parts,
        )
