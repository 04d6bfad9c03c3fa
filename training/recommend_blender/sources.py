"""The recommenders that a blend asks, as they are without the events that it learns from."""

import shutil
from pathlib import Path

from feature_store.snapshot import Snapshot
from recsys.bundle.manifest import ComponentInfo
from recsys.bundle.read import Bundle
from recsys.bundle.recommenders import COMPONENTS, TEXT_ENCODER
from recsys.catalogue import Catalogue
from recsys.engine.recommenders import load_recommender, own_histories
from recsys.errors import NothingToLearnError, UsageError
from recsys.retrieval.dense import DenseIndex
from recsys.retrieval.text_neighbours import TextNeighbours
from recsys.retrieval.two_tower import TwoTowerRecommender
from recsys.types import Recommender
from training.metric_log import Silent
from training.stage import find_stage
from training.two_tower.read import catalogue_text

DONE = "done"


def open_sources(
    snapshot: Snapshot, *, base: Bundle | None, wanted: tuple[str, ...] | None, catalogue: Catalogue, work: Path
) -> dict[str, Recommender]:
    """Recommenders learned from the training part alone, by name, in the order of COMPONENTS.

    After them stand text neighbours, where the base has a text encoder, and the users' own histories.

    What the base holds has mostly seen the validation part, whose events are the blend's labels. Each such component
    is learned once more without it, by the settings that it was learned with; what was done when a run was killed
    stays. Two-tower still chooses its epochs by the validation part: a little of the labels, which the gain of the
    blend over two-tower itself does not profit from.

    Args:
        snapshot: the events.
        base: the model whose recommenders are blended.
        wanted: their names; None takes all.
        catalogue: the snapshot's.
        work: where they are learned.

    Raises:
        NothingToLearnError: the base has no recommender.
        UsageError: a recommender has a name that the base does not know.
    """
    components = {} if base is None else base.manifest.components
    known = [name for name, component in COMPONENTS.items() if component in components]
    near = (TextNeighbours.name,) if TEXT_ENCODER in components else ()
    if base is None or not known:
        raise NothingToLearnError(
            "no recommender to blend", expected="a model with several", action="run `recsys train item-knn` and others"
        )
    own = own_histories()
    if strange := sorted(set(wanted or ()) - {*known, *near, *own}):
        raise UsageError(
            f"sources {', '.join(strange)}",
            expected=f"some of {', '.join((*known, *near, *own))}",
            action="correct --set sources, or train the stage first",
        )
    found: dict[str, Recommender] = {}
    for name in known:
        if wanted is None or name in wanted:
            component = COMPONENTS[name]
            place = without_validation(components[component], snapshot, base=base, stage=name, work=work)
            found[name] = open_source(component, place, catalogue=catalogue, base=base)
    for name in near:
        if wanted is None or name in wanted:
            found[name] = open_text(base, catalogue=catalogue, folder=work / "sources" / name)
    return found | {name: one for name, one in own.items() if wanted is None or name in wanted}


def without_validation(info: ComponentInfo, snapshot: Snapshot, *, base: Bundle, stage: str, work: Path) -> Path:
    """The folder of a component that has learned from this snapshot's training part alone."""
    own = base.component(info.name)
    if own is not None and info.parts == ["train"] and info.snapshot == snapshot.manifest.snapshot_id:
        return own
    folder = work / "sources" / info.name
    if not (folder / DONE).is_file():
        one = find_stage(stage)
        settings = {name: value for name, value in info.config.items() if name in one.config_type.model_fields}
        one.train(
            snapshot,
            config=one.config_type.model_validate(settings),
            folder=folder,
            work=work / "runs" / info.name,
            run=Silent(),
            base=base,
            start=None,
            refit=False,
        )
        (folder / DONE).touch()
    return folder


def open_source(component: str, place: Path, *, catalogue: Catalogue, base: Bundle) -> Recommender:
    """A recommender, with the vectors of the products' texts where it reads them."""
    if component != "two_tower":
        return load_recommender(component, place, catalogue=catalogue)
    reads_text = base.manifest.components[component].config.get("text")
    text = catalogue_text(catalogue, folder=base.component(TEXT_ENCODER)) if reads_text else None
    return TwoTowerRecommender.load(place, catalogue=catalogue, text=text)


def open_text(base: Bundle, *, catalogue: Catalogue, folder: Path) -> Recommender:
    """Neighbours by the base's own text vectors, which no event has touched; a killed run's vectors stay."""
    if not (folder / DONE).is_file():
        shutil.rmtree(folder, ignore_errors=True)
        DenseIndex.build(catalogue_text(catalogue, folder=base.component(TEXT_ENCODER)), folder)
        (folder / DONE).touch()
    return TextNeighbours(DenseIndex.open(folder))
