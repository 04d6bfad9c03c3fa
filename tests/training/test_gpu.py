"""The training loop on a GPU. It imports torch, lightning, transformers, pydantic, numpy and pytest, nothing else."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys.models.two_tower_config import FIRST
from recsys.text.tokenizer import TextTokenizer
from training.fit import wants_bf16
from training.relevance.config import RelevanceConfig
from training.relevance.learn import Learned, learn
from training.relevance.module import Pairs
from training.two_tower.config import TwoTowerSettings
from training.two_tower.learn import learn as learn_two_tower
from training.two_tower.products import Products
from training.two_tower.sequences import Sequences

ROOT = Path(__file__).resolve().parents[2]
BARE = ("polars", "faiss", "mlflow", "tantivy", "dataframely", "feature_store", "fastapi", "sklearn")


def colour_pairs(backbone: Path) -> Pairs:
    """Grade 1 where query and product have the same colour."""
    colours, kinds = ("blue", "red", "green", "black"), ("sofa", "lamp", "desk", "chair")
    triples = [(asked, shown, kind) for asked in colours for shown in colours for kind in kinds]
    tokens = TextTokenizer.load(backbone).encode(
        [f"{asked} {kind}" for asked, _, kind in triples], pairs=[f"{shown} {kind}" for _, shown, kind in triples]
    )
    grades = np.array([asked == shown for asked, shown, _ in triples], dtype=np.float32)
    return Pairs(tokens, grades, np.ones_like(grades), np.arange(len(triples)) // 16, 1.0)


def run(backbone: Path, work: Path, *, stop_after: int = 0, **values: object) -> Learned:
    """A short training of the tiny network."""
    given = {"epochs": 4, "batch_size": 16, "learning_rate": 0.01, "max_length": 24, "dropout": 0.0} | values
    config = RelevanceConfig.model_validate(given | {"freeze_embeddings": False})
    return learn(colour_pairs(backbone), None, config=config, start=backbone, work=work, stop_after=stop_after)


def test_learning_needs_neither_tables_nor_servers() -> None:
    """What a bare GPU host lacks is not imported."""
    modules = "training.relevance.learn, training.retriever.module, training.two_tower.module"
    code = f"import sys, {modules}; print([name for name in {BARE!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.gpu
def test_a_gpu_is_taken_and_gives_the_losses_of_the_cpu(tiny_backbone: Path, tmp_path: Path) -> None:
    assert torch.cuda.is_available()
    on_cpu = run(tiny_backbone, tmp_path / "cpu", accelerator="cpu", precision="fp32")
    on_gpu = run(tiny_backbone, tmp_path / "gpu", precision="fp32")
    assert torch.cuda.max_memory_allocated() > 0
    assert on_gpu.result.losses == pytest.approx(on_cpu.result.losses, abs=2e-3)


@pytest.mark.gpu
def test_bfloat16_is_taken_where_the_gpu_has_it(tiny_backbone: Path, tmp_path: Path) -> None:
    assert wants_bf16(RelevanceConfig()) == torch.cuda.is_bf16_supported(including_emulation=False)
    exact = run(tiny_backbone, tmp_path / "exact", precision="fp32")
    rounded = run(tiny_backbone, tmp_path / "rounded", precision="auto")
    assert rounded.result.losses == pytest.approx(exact.result.losses, abs=5e-2)


@pytest.mark.gpu
def test_a_stopped_run_goes_on_to_the_same_losses(tiny_backbone: Path, tmp_path: Path) -> None:
    whole = run(tiny_backbone, tmp_path / "whole", precision="fp32")
    run(tiny_backbone, tmp_path / "parts", precision="fp32", stop_after=2)
    resumed = run(tiny_backbone, tmp_path / "parts", precision="fp32")
    assert resumed.result.losses == pytest.approx(whole.result.losses, abs=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("sparse", [False, True])
def test_a_two_tower_gives_the_losses_of_the_cpu(sparse: bool, tmp_path: Path) -> None:
    starts = np.arange(64) % 12
    circle = Sequences(
        offsets=np.arange(65) * 6,
        rows=((starts[:, None] + np.arange(6)) % 12 + FIRST).ravel(),
        event_types=np.full(64 * 6, 6),
        timestamps=np.tile(np.arange(6), 64),
        weights=np.ones(64 * 6, dtype=np.float32),
    )
    given = {"epochs": 3, "batch_size": 16, "width": 8, "heads": 1, "length": 8, "negatives": 8, "precision": "fp32"}
    given |= {"text": False, "dropout": 0.0, "id_dropout": 0.0, "sparse": sparse, "clock": True, "repeats": True}
    losses = [
        learn_two_tower(
            circle,
            None,
            products=Products(12),
            config=TwoTowerSettings.model_validate(given | {"accelerator": accelerator}),
            work=tmp_path / accelerator,
        )[1].losses
        for accelerator in ("cpu", "gpu")
    ]
    assert losses[1] == pytest.approx(losses[0], abs=2e-3)
