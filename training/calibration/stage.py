"""`recsys train calibration`: from a cross-encoder's held-out scores to the component `calibration`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import BaseModel

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import PRODUCT_SEARCH, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.engine.blending import component_digests
from recsys.errors import UsageError
from recsys.metrics.calibration import brier, ece, sampling_ece
from recsys.ranking.calibration import Calibration, CutOff
from recsys.ranking.held_out import read_held_out
from recsys.registry.client import Registry
from recsys.settings import Settings
from training.calibration.config import POLICY, CalibrationConfig, relevant_grade, wishes
from training.calibration.cutoff import Lists, find_cutoff, irrelevant_shares
from training.calibration.fit import FITS, choose_kind, left_out
from training.calibration.measure import Verdict, measure_stages
from training.metric_log import MetricLog
from training.policy import set_by_hand
from training.stage import REPORT


class CalibrationStage:
    """`recsys train calibration`: no network is trained; an index of the catalogue is made where stages are measured.

    Args:
        vectors: folder of text and image vectors that are kept from index to index; None keeps none.
    """

    name = "calibration"
    kind = PRODUCT_SEARCH
    component = "calibration"
    config_type: type[BaseModel] = CalibrationConfig

    def __init__(self, vectors: Path | None = None) -> None:
        self.vectors = vectors

    def looking_up(
        self, config: BaseModel, *, start: Path | None, registry: Registry, settings: Settings
    ) -> "CalibrationStage":
        """The stage that knows where vectors are kept; see LooksUp."""
        return CalibrationStage(settings.vectors)

    def told(self) -> Mapping[str, Any]:
        """Nothing: kept vectors change no result."""
        return {}

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
        """Fit on the scores that the base's cross-encoder gave to queries it had not learned from; see Stage.

        On the same queries the weights of the stages are chosen, and each stage is held against the list without it.

        Raises:
            UsageError: there is no cross-encoder, or a threshold above the scale.
            BundleError: it has no held-out scores.
        """
        settings = CalibrationConfig.model_validate(config.model_dump())
        place = base.component("cross_encoder") if base is not None else None
        if base is None or place is None:
            raise UsageError(
                "no cross-encoder to calibrate",
                expected="a product-search model with one",
                action="run `recsys train relevance` first, or name a model with --base",
            )
        known = base.manifest.components["cross_encoder"]
        calibration, metrics = fit_calibration(read_held_out(place), config=settings, cross_encoder=known.digest)
        wished = wishes(settings, set_by_hand(base))
        found = Verdict({}, [], "not measured")
        if settings.measure:
            found = measure_stages(snapshot, base=base, wished=wished, config=settings, work=work, vectors=self.vectors)
        if found.report is not None:
            work.mkdir(parents=True, exist_ok=True)
            (work / REPORT).write_text(json.dumps(found.report, indent=1), encoding="utf-8")
        metrics |= found.metrics
        run.metrics(metrics, step=0)
        calibration.save(folder)
        return ComponentInfo(
            name=self.component,
            snapshot=known.snapshot,
            metrics=metrics,
            config=settings.model_dump(exclude=set(POLICY))
            | {"curve": calibration.curve.kind, "policy": wished}
            | {"chosen": dict(found.chosen), "off": found.off, "why": found.why}
            | component_digests(base),
            parts=["validation"],
        )


def fit_calibration(
    held_out: pl.DataFrame, *, config: CalibrationConfig, cross_encoder: str = ""
) -> tuple[Calibration, dict[str, float]]:
    """The calibration of held-out scores, and its figures on queries that were left out once more.

    Args:
        held_out: as `recsys.ranking.held_out.read_held_out` gives them, one row or more.
        config: of the fit.
        cross_encoder: digest of the component that gave the scores.

    Raises:
        UsageError: a threshold above the scale, which no product could reach.
    """
    max_grade = float(held_out["max_grade"][0])
    threshold = config.threshold or relevant_grade(max_grade)
    if threshold > max_grade:
        raise UsageError(
            f"setting threshold = {threshold:g}",
            expected=f"a grade of the shop's scale, at most {max_grade:g}",
            action="correct its value",
        )
    logits = held_out["logit"].cast(pl.Float64).to_numpy()
    outcomes = (held_out["grade"].to_numpy() >= threshold).astype(np.float64)
    queries = held_out["query_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
    folds, seed = config.folds, config.seed
    kind = choose_kind(logits, outcomes, queries, folds=folds, seed=seed) if config.kind == "auto" else config.kind
    counts = {"held-out/queries": float(queries.max() + 1), "held-out/pairs": float(len(logits))}
    metrics = counts | {"held-out/good": float(outcomes.mean())}
    cutoff = None
    if queries.max() > 0:
        probabilities = left_out(logits, outcomes, queries, fit=FITS[kind], folds=folds, seed=seed)
        lists = Lists(logits=logits, probabilities=probabilities, outcomes=outcomes, queries=queries)
        cutoff = promised(lists, config=config)
        metrics |= figures(lists, config=config, cutoff=cutoff)
    calibration = Calibration(
        cross_encoder=cross_encoder,
        threshold=threshold,
        max_grade=max_grade,
        curve=FITS[kind](logits, outcomes),
        cutoff=cutoff,
    )
    return calibration, metrics


def promised(lists: Lists, *, config: CalibrationConfig) -> CutOff | None:
    """The cut-off that keeps the promise asked for, by the held-out lists; None where none does."""
    share, confidence, k = config.irrelevant_share, config.confidence, config.k
    found = find_cutoff(lists, share=share, confidence=confidence, k=k, seed=config.seed, floor=config.floor)
    if found is None:
        return None
    return CutOff(probability=found, irrelevant_share=share, confidence=confidence, k=k, queries=len(lists))


def figures(lists: Lists, *, config: CalibrationConfig, cutoff: CutOff | None) -> dict[str, float]:
    """What left-out queries say of the curve and of the cut-off."""
    chance = sampling_ece(lists.probabilities, seed=config.seed)
    found = {
        "held-out/ece": ece(lists.probabilities, lists.outcomes),
        "held-out/ece by sampling": chance.mean,
        "held-out/ece by sampling at most": chance.high,
        "held-out/brier": brier(lists.probabilities, lists.outcomes),
    }
    if cutoff is None:
        return found
    shares = irrelevant_shares(lists, cutoff=cutoff.probability, k=cutoff.k)
    return found | {
        "held-out/cut-off": cutoff.probability,
        "held-out/irrelevant share": float(np.nanmean(shares)),
        "held-out/lists without a good match": float(np.isnan(shares).mean()),
    }
