"""`recsys train images`: from pictures or image vectors, titles and judgments to the component `image_tower`."""

import logging
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import PRODUCT_SEARCH, ComponentInfo
from recsys.bundle.read import Bundle
from recsys.catalogue import Catalogue
from recsys.engine.image_vectors import weights_digest
from recsys.engine.product_images import given_vectors, picture_stamp
from recsys.errors import NothingToLearnError
from recsys.models.backbone import resolve_backbone
from recsys.models.image_encoder import SmallImageEncoder
from recsys.models.image_tower import ImageTower, ImageTowerConfig
from training.fit import FitResult, fit, seed_all
from training.images.config import ImagesConfig
from training.images.data import Inputs, Pairs, product_vectors, products_of, read_inputs, read_pairs, text_reader
from training.images.module import ImagesModule, Shelf, loaders
from training.metric_log import MetricLog
from training.relevance.module import mean_ndcg

log = logging.getLogger(__name__)


class ImagesStage:
    """`recsys train images`."""

    name = "images"
    kind = PRODUCT_SEARCH
    component = "image_tower"
    config_type: type[BaseModel] = ImagesConfig

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

        The tower is learned for the base's text encoder, else for the stock one, and is of no use beside another.

        Raises:
            NothingToLearnError: no product has a picture that can be read, or there is nothing to pair pictures with.
            IndexMismatchError: image vectors of several widths.
            BundleError: the checkpoint can't be read.
        """
        settings = ImagesConfig.model_validate(config.model_dump())
        own = None if base is None else base.component("text_encoder")
        encoder = own or resolve_backbone()
        reader, catalogue = text_reader(encoder), snapshot.catalogue()
        shape, checkpoint = shape_of(catalogue, config=settings, width=reader[0].width, text=weights_digest(encoder))
        pictures = Path(settings.pictures).expanduser() if settings.pictures else snapshot.pictures
        work = work / picture_stamp(catalogue, pictures)[:16]  # other pictures, another training
        work.mkdir(parents=True, exist_ok=True)
        tower = ImageTower.new(shape, checkpoint=checkpoint).eval()
        inputs = read_inputs(catalogue, tower, pictures=pictures, file=work / "inputs.npy")
        refuse_blind(snapshot, inputs)
        titled = inputs.row >= 0 if settings.titles else np.zeros(len(catalogue), dtype=np.bool_)
        pairs = read_pairs(snapshot, "train", reader=reader, config=settings, titled=titled)
        judged = read_pairs(snapshot, "validation", reader=reader, config=settings)
        both = read_pairs(snapshot, "train", "validation", reader=reader, config=settings, titled=titled)
        if pairs is None or both is None or len(pairs) < 2:
            raise NothingToLearnError(
                f"{snapshot.path} has neither positive judgments nor titles to learn from",
                expected="two or more pairs of a text and a product",
                action="add queries and judgments to the shop, or let titles be above 0",
            )
        used = [products_of(one) for one in (pairs, judged, both) if one is not None]
        shelf = Shelf(inputs, *product_vectors(catalogue, used, reader=reader))
        tower, result = learn(
            pairs, judged, shelf=shelf, shape=shape, checkpoint=checkpoint, config=settings,
            work=work / "choose", run=run,
        )  # fmt: skip
        parts, metrics = ["train"], {}
        if judged is not None:
            metrics = {"validation/ndcg@10": result.best_score, "validation/start.ndcg@10": text_ndcg(judged, shelf)}
            run.metrics(metrics, step=result.best_epoch)
        if refit and judged is not None:
            parts = ["train", "validation"]
            tower, _ = learn(
                both, None, shelf=shelf, shape=shape, checkpoint=checkpoint, config=settings,
                work=work / "refit", stop_after=result.best_epoch,
            )  # fmt: skip
        tower.save(folder)
        found = {
            "best_epoch": result.best_epoch,
            "strength": round(tower.strength.item(), 4),
            "products_with_picture": int((inputs.row >= 0).sum()),
            "not_read": inputs.problems,
        }
        return ComponentInfo(
            name=self.component,
            snapshot=snapshot.manifest.snapshot_id,
            metrics=metrics,
            config=settings.model_dump() | found,
            parts=parts,
        )


def shape_of(catalogue: Catalogue, *, config: ImagesConfig, width: int, text: str) -> tuple[ImageTowerConfig, Path]:
    """The tower's shape, and the folder of its checkpoint (of no meaning where it has none)."""
    vectors, seen = given_vectors(catalogue) if config.encoder in ("auto", "vectors") else (np.zeros((0, 0)), None)
    if config.encoder == "vectors" or (seen is not None and seen.any()):
        return ImageTowerConfig("vectors", features=max(vectors.shape[1], 1), width=width, text=text), Path()
    if config.encoder in ("auto", "small"):
        features = SmallImageEncoder(config.size).width
        return ImageTowerConfig("small", features=features, width=width, size=config.size, text=text), Path()
    from recsys.models.vision_backbone import load_vision

    folder = resolve_backbone(config.encoder)
    network = load_vision(folder)
    shape = ImageTowerConfig("checkpoint", features=network.width, width=width, size=network.size, text=text)
    return shape, folder


def refuse_blind(snapshot: Snapshot, inputs: Inputs) -> None:
    """Raise where no product can be looked at; say which pictures could not be read."""
    if inputs.problems:
        log.warning("pictures that can't be read: %s", inputs.problems)
    if not (inputs.row >= 0).any():
        raise NothingToLearnError(
            f"{snapshot.path} has no product with a picture that can be read ({inputs.problems or 'none is named'})",
            expected="image_vector, or image_url as a path inside the shop folder; nothing is fetched from a network",
            action="put the pictures beside the tables and name them in image_url, or set pictures=FOLDER",
        )


def learn(
    train: Pairs,
    judged: Pairs | None,
    *,
    shelf: Shelf,
    shape: ImageTowerConfig,
    checkpoint: Path,
    config: ImagesConfig,
    work: Path,
    run: MetricLog | None = None,
    stop_after: int = 0,
) -> tuple[ImageTower, FitResult]:
    """One run from new weights; arguments as in `training.relevance.learn.learn`."""
    seed_all(config.seed)
    tower = ImageTower.new(shape, checkpoint=checkpoint)
    first, second, steps = loaders(train, judged, shelf=shelf, config=config)
    module = ImagesModule(tower, config=config, steps=steps, pairs=train, judged=judged)
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
    return tower.eval(), result


def text_ndcg(judged: Pairs, shelf: Shelf) -> float:
    """NDCG@10 of the judged pairs by text alone."""
    scores = (judged.texts[judged.text] * shelf.vectors[shelf.row[judged.product]]).sum(axis=1)
    return mean_ndcg(judged.text, judged.grades, scores)
