"""Networks of a few thousand weights, for tests that must take milliseconds."""

from collections.abc import Iterable
from pathlib import Path

from recsys.models.backbone import new_backbone
from recsys.text.tokenizer import TextTokenizer

WIDTH = 32


def tiny_backbone(folder: Path, *, seed: int, words: Iterable[str] = (), layers: int = 2, width: int = WIDTH) -> Path:
    """Write a random BERT with its tokenizer: config.json, model.safetensors, tokenizer.json.

    Args:
        folder: where the files go; made if it isn't there.
        seed: of the weights.
        words: whole words of the vocabulary; other words are spelt by their characters.
        layers: transformer layers.
        width: size of a hidden vector, a multiple of 4.

    Returns:
        The folder, fit for `load_backbone`, `TextEncoder.load` and `TextTokenizer.load`.
    """
    tokenizer = TextTokenizer.of_words(words, folder)
    config = {
        "vocab_size": tokenizer.vocabulary_size,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 2 * width,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,
    }
    new_backbone(config, seed=seed).save(folder)
    tokenizer.save(folder)
    return folder
