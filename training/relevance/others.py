"""The first step of a run on several shops: the others' judgments, before the main shop's own are learned.

Other shops have most of the judgments; learned first and few times, they cost their share once, where among the own
ones they would cost it in each epoch of the choice and again in the refit.
"""

from pathlib import Path

from training.metric_log import MetricLog
from training.processes import process_name
from training.relevance.members import OfMember, learn_members
from training.relevance.sources import Reader, refuse_uniform


def learn_others(reader: Reader, *, start: Path, work: Path, run: MetricLog) -> Path:
    """The folder of networks that have learned the other shops' judgments; the start where there are none.

    Nothing of the main shop is read but the texts of its held-out queries, which are left out: its epochs are chosen,
    and it is refitted, from one and the same folder.

    Args:
        reader: of the run; `also_epochs` of its settings says how often.
        start: see `start_folder`.
        work: folder of this step's checkpoints and of its networks.
        run: receives the metrics of each epoch, under `others/`.

    Raises:
        NothingToLearnError: the others' grades tell no product from another.
        SnapshotError: another shop has nothing to add.
    """
    pairs = reader.before()
    if pairs is None:
        return start
    refuse_uniform(pairs, snapshot=reader.sources.others[0], config=reader.config)
    config = reader.config.model_copy(update={"epochs": reader.config.also_epochs, "patience": 0, "soup": 1})
    learned = learn_members(pairs, None, config=config, start=start, work=work / "run", run=OfMember(run, "others"))
    folder = work / f"networks-{process_name()}"
    learned.save(folder)
    return folder
