"""RecTools' SASRec on a file of events; runs in an environment of its own, see sasrec.txt.

`python sasrec.py SETTINGS` takes JSON and answers with JSON on the last line:

    events    an .npz with int64 arrays users, products and moments (the order of each user's events)
    folder    where checkpoints and answers are written
    model     arguments of SASRecModel; "ligr": true takes LiGR blocks, with which it is eSASRec
    seed      of weights, order, negatives and dropout
    steps     measure so many steps, the first `warm` of them untimed, and write nothing; 0 trains epochs
    epochs    go on from the newest checkpoint until so many are learned
    k         products for each user, none of them from the user's own events
"""

import json
import re
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.callbacks import LambdaCallback
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.item_net import IdEmbeddingsItemNet
from rectools.models.nn.transformers.ligr import LiGRLayers


def read_events(file: str) -> Any:
    """The events as RecTools reads them."""
    events = np.load(file, allow_pickle=False)
    columns = {"user_id": events["users"], "item_id": events["products"], "weight": 1.0}
    moments = pd.to_datetime(events["moments"], unit="s")
    return Dataset.construct(pd.DataFrame(columns | {"datetime": moments}))


def new_model(settings: dict[str, Any], **more: Any) -> Any:
    """SASRec that learns ids alone, as ours does here."""
    own = dict(settings["model"])
    blocks = {"transformer_layers_type": LiGRLayers} if own.pop("ligr", False) else {}
    return SASRecModel(item_net_block_types=(IdEmbeddingsItemNet,), epochs=1, **own, **blocks, **more)


def measure_steps(settings: dict[str, Any]) -> dict[str, float]:
    """Targets and processor seconds of some steps."""
    stamps: list[float] = []
    targets: list[int] = []

    def before(trainer: Any, module: Any, batch: dict[str, torch.Tensor], number: int) -> None:
        targets.append(int((batch["y"] != 0).sum()))

    def after(trainer: Any, module: Any, outputs: Any, batch: Any, number: int) -> None:
        stamps.append(time.process_time())

    def trainer() -> Trainer:
        return Trainer(
            max_epochs=1,
            limit_train_batches=settings["steps"],
            callbacks=[LambdaCallback(on_train_batch_start=before, on_train_batch_end=after)],
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    seed_everything(settings["seed"])
    new_model(settings, get_trainer_func=trainer).fit(read_events(settings["events"]))
    warm = settings["warm"]
    return {"targets": sum(targets[warm:]), "seconds": stamps[-1] - stamps[warm - 1]}


def train_epochs(settings: dict[str, Any]) -> dict[str, Any]:
    """Learn until so many epochs are done, one checkpoint each, and answer every user."""
    folder = Path(settings["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    seed_everything(settings["seed"])
    data = read_events(settings["events"])
    done = max((int(re.sub(r"\D", "", file.stem)) for file in folder.glob("epoch-*.ckpt")), default=0)
    done = min(done, settings["epochs"])
    newest = folder / f"epoch-{done:03d}.ckpt"
    more = {"model_params_update": {"epochs": done}}  # else it refuses a checkpoint of more epochs than one
    model = SASRecModel.load_from_checkpoint(newest, **more) if done else new_model(settings)
    log = folder / "seconds.json"
    seconds = json.loads(log.read_text()) if log.exists() else {}
    for epoch in range(done, settings["epochs"]):
        torch.manual_seed(settings["seed"] * 1000 + epoch)
        np.random.seed(settings["seed"] * 1000 + epoch)  # noqa: NPY002 - its data loader draws from the old generator
        begun = time.process_time()
        model.fit_partial(data, min_epochs=1, max_epochs=1)
        seconds[str(epoch + 1)] = time.process_time() - begun
        model.fit_trainer.save_checkpoint(folder / "next.ckpt")
        (folder / "next.ckpt").replace(folder / f"epoch-{epoch + 1:03d}.ckpt")
        (folder / f"epoch-{epoch:03d}.ckpt").unlink(missing_ok=True)
        log.write_text(json.dumps(seconds))
    users = np.unique(np.load(settings["events"], allow_pickle=False)["users"])
    found = model.recommend(users, data, k=settings["k"], filter_viewed=True)
    file = folder / f"answers-{settings['epochs']:03d}.npz"
    columns = {"users": "user_id", "products": "item_id", "scores": "score"}
    np.savez(file, **{name: found[column].to_numpy() for name, column in columns.items()})
    own = [seconds[str(epoch + 1)] for epoch in range(settings["epochs"]) if str(epoch + 1) in seconds]
    return {"answers": str(file), "seconds an epoch": sum(own) / max(1, len(own))}


def main(text: str) -> None:
    """Measure or train, as the settings say."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    settings = json.loads(text)
    answer = measure_steps(settings) if settings["steps"] else train_epochs(settings)
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
