"""The two models for MLflow's own doors, `mlflow.pyfunc.load_model` and `mlflow models serve`: frames in, frames out.

A version's artefact names this module as its loader and holds the bundle as plain files, so that nothing is unpickled.
The service and the nightly batch never come through here. pandas is used at this edge alone, for MLflow speaks it.
"""

import json
import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import polars as pl

from recsys.bundle.manifest import PRODUCT_SEARCH
from recsys.bundle.read import Bundle
from recsys.catalogue import Catalogue
from recsys.engine.build import build_index
from recsys.engine.engine import Engine
from recsys.errors import BundleError, UsageError
from recsys.ranking.bi_encoder import CosineRanker
from recsys.ranking.cross_encoder import CrossEncoderRanker
from recsys.text.field_names import FIELDS
from recsys.text.fields import product_text
from recsys.types import EVENT_CODES, Histories, Ranker

K = 10


class Model(Protocol):
    """What MLflow calls."""

    def predict(self, frame: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """One row of answers for each row of the frame."""
        ...


class ProductSearchModel:
    """Scores rows of query and product.

    Args:
        ranker: the bundle's cross-encoder, else its text encoder.
    """

    def __init__(self, ranker: Ranker) -> None:
        self.ranker = ranker

    def predict(self, frame: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Column `score`, higher is more relevant.

        Args:
            frame: query, title; optional description, brand, category, attributes (JSON).
            params: none are known.

        Raises:
            UsageError: query or title is missing.
        """
        missing = [name for name in ("query", "title") if name not in frame.columns or frame[name].isna().any()]
        if missing:
            raise UsageError(
                f"rows without {missing[0]}", expected="query and title in each row", action="correct the request"
            )
        columns = {name: column_texts(frame, name) for name in ("query", *FIELDS)}
        texts = product_text(pl.DataFrame({name: columns[name] for name in FIELDS}), fields=self.ranker.fields)
        scores = self.ranker.score(columns["query"], texts)
        return pd.DataFrame({"score": scores.astype(np.float64)}, index=frame.index)


class RecommenderModel:
    """Recommends the bundle's own products for histories.

    Args:
        engine: an index of the bundle and the catalogue that it was learned with.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def predict(self, frame: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Columns `product_ids` and `scores`, lists of at most k, best first.

        Args:
            frame: history, the ids of what each user bought, oldest first, as a list or as its JSON text; optional k.
                Whether those may come back is the bundle's policy.
            params: none are known.

        Raises:
            UsageError: history is missing or no list, or k is below 1.
        """
        if "history" not in frame.columns:
            raise UsageError("no column history", expected="history and k", action="correct the request")
        histories = [as_history(value) for value in frame["history"]]
        wanted = [as_count(value) for value in (frame["k"] if "k" in frame.columns else [K] * len(frame))]
        answers = self.engine.recommend_histories(as_purchases(histories), k=max(wanted, default=K))
        kept = [answer.hits[:k] for answer, k in zip(answers, wanted, strict=True)]
        return pd.DataFrame(
            {
                "product_ids": [[hit.product_id for hit in hits] for hits in kept],
                "scores": [[float(hit.score) for hit in hits] for hits in kept],
            },
            index=frame.index,
        )


def _load_pyfunc(data_path: str) -> Model:
    """The model of a bundle; MLflow calls it by this name."""
    bundle = Bundle.open(Path(data_path))
    return open_search(bundle) if bundle.kind == PRODUCT_SEARCH else open_recommender(bundle)


def open_search(bundle: Bundle) -> ProductSearchModel:
    """The ranking side of a product-search bundle.

    Raises:
        BundleError: it has neither cross-encoder nor text encoder.
    """
    if (folder := bundle.component("cross_encoder")) is not None:
        return ProductSearchModel(CrossEncoderRanker.load(folder))
    if (folder := bundle.component("text_encoder")) is not None:
        return ProductSearchModel(CosineRanker.load(folder))
    raise BundleError(
        f"bundle {bundle.path} ranks nothing", expected="a cross_encoder or text_encoder", action="train one"
    )


def open_recommender(bundle: Bundle) -> RecommenderModel:
    """An engine over the products that the bundle carries.

    Raises:
        BundleError: it carries none.
    """
    if bundle.catalogue is None:
        raise BundleError(
            f"bundle {bundle.path} carries no catalogue.parquet", expected="its products", action="train it again"
        )
    folder = Path(tempfile.mkdtemp(prefix="recsys-pyfunc-"))
    index = build_index(
        Catalogue.read(bundle.catalogue),
        search=None,
        recommender=bundle,
        folder=folder / "index",
        shop=bundle.shop,
        backbone="",
    )
    model = RecommenderModel(Engine.open(index))
    weakref.finalize(model, shutil.rmtree, folder, ignore_errors=True)
    return model


def as_history(value: object) -> list[str]:
    """Product ids from a list, an array or a JSON text."""
    found = value
    if isinstance(found, str):
        try:
            found = json.loads(found)
        except ValueError:
            found = None
    if not isinstance(found, Sequence | np.ndarray) or isinstance(found, str):
        raise UsageError(f"history {value!r:.80}", expected="a list of product ids", action="correct the request")
    return [str(product_id) for product_id in found]


def as_count(value: object) -> int:
    """How many products are asked for; the default where the cell is empty."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return K
    number = int(value) if isinstance(value, int | float | np.integer) else 0
    if number < 1:
        raise UsageError(f"k is {value!r:.80}", expected="a whole number from 1", action="correct the request")
    return number


def as_purchases(histories: Sequence[Sequence[str]]) -> Histories:
    """Lists of product ids as histories of purchases, in the order given."""
    offsets = np.concatenate([[0], np.cumsum([len(history) for history in histories])]).astype(np.int64)
    events = int(offsets[-1])
    return Histories(
        offsets=offsets,
        product_ids=tuple(product_id for history in histories for product_id in history),
        timestamps=np.arange(events, dtype=np.int64),
        event_types=np.full(events, EVENT_CODES["purchase"], dtype=np.int8),
        segments=("",) * len(histories),
    )


def column_texts(frame: pd.DataFrame, name: str) -> list[str]:
    """A column as texts, "" where it is absent or empty."""
    if name not in frame.columns:
        return [""] * len(frame)
    return ["" if pd.isna(value) else str(value) for value in frame[name]]
