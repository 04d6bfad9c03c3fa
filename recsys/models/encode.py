"""Running a text network over many rows: length-sorted, token-budgeted batches, bfloat16 where the machine has it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from recsys.logs import progress
from recsys.models.ensemble import PairNetwork
from recsys.models.text_encoder import TextEncoder
from recsys.text.tokenizer import TextTokenizer, Tokens
from recsys.types import Scores, Vectors

Precision = Literal["auto", "bf16", "fp32"]
N = TypeVar("N", bound=nn.Module)
TOKENS = 8192  # tokens a batch may have, padding included
CHUNK = 32768  # texts tokenised at a time, so that a large catalogue never stands in memory as tokens
FIXED_ROWS, FIXED_STEP = 16, 32  # shapes of the deterministic mode


def encode_texts(
    encoder: TextEncoder,
    tokenizer: TextTokenizer,
    texts: Sequence[str],
    *,
    precision: Precision = "auto",
    deterministic: bool = False,
    label: str = "",
) -> Vectors:
    """Unit vectors of the texts.

    Args:
        encoder: the network; its `max_length` cuts the texts.
        tokenizer: of the same folder.
        texts: any texts; an empty one has a vector too.
        precision: "bf16" computes in bfloat16 (cosine to float32 above .9999), "auto" where the machine has it.
        deterministic: same bytes for a text whatever its company: float32 and fixed shapes, slower.
        label: of the progress bar; none without.

    Returns:
        float32 [texts, width].
    """
    vectors = np.empty((len(texts), encoder.width), dtype=np.float32)
    for start in chunks(len(texts), label=label):
        tokens = tokenizer.encode(texts[start : start + CHUNK], max_length=encoder.max_length)
        rows = infer(encoder, tokenizer, tokens, precision=precision, deterministic=deterministic)
        vectors[start : start + len(tokens)] = rows
    return vectors


def score_pairs(
    network: PairNetwork,
    tokenizer: TextTokenizer,
    queries: Sequence[str],
    texts: Sequence[str],
    *,
    precision: Precision = "auto",
    deterministic: bool = False,
    label: str = "",
) -> Scores:
    """Relevance logits of the pairs (queries[i], texts[i]).

    Args:
        network: the cross-encoder or several; its `max_length` cuts the pairs.
        tokenizer: of the same folder.
        queries: as many as texts.
        texts: product texts.
        precision: as in `encode_texts`.
        deterministic: as in `encode_texts`.
        label: of the progress bar; none without.

    Returns:
        float32 [pairs].
    """
    logits = np.empty(len(texts), dtype=np.float32)
    for start in chunks(len(texts), label=label):
        part = slice(start, start + CHUNK)
        tokens = tokenizer.encode(queries[part], pairs=texts[part], max_length=network.max_length)
        rows = infer(network, tokenizer, tokens, precision=precision, deterministic=deterministic)
        logits[start : start + len(tokens)] = rows
    return logits


def prepare(network: N, *, precision: Precision = "auto") -> N:
    """Make a network ready for `infer` with this precision: its matrices are cast once instead of at each call.

    The outputs keep every bit; a single query takes half the time. Only for networks that are neither trained, saved
    nor asked for float32 afterwards.

    Args:
        network: changed in place where the precision means bfloat16.
        precision: as in `encode_texts`.
    """
    device = next(network.parameters()).device
    if wants_bf16(device, precision):
        for part in network.modules():
            if isinstance(part, nn.Linear):
                part.to(torch.bfloat16)
    return network


def infer(
    network: nn.Module,
    tokenizer: TextTokenizer,
    tokens: Tokens,
    *,
    precision: Precision = "auto",
    deterministic: bool = False,
    budget: int = TOKENS,
) -> NDArray[np.float32]:
    """The network's output for each row, in the order of the rows; its training mode is restored after.

    Args:
        network: takes what `TextTokenizer.pad` gives and returns a float tensor [batch, ...].
        tokenizer: pads the batches.
        tokens: the rows.
        precision: as in `encode_texts`.
        deterministic: as in `encode_texts`.
        budget: tokens a batch may have, padding included; a longer row makes a batch of its own.

    Returns:
        float32 [rows, ...].
    """
    device = next(network.parameters()).device
    batches = fixed_batches(tokens.lengths) if deterministic else sorted_batches(tokens.lengths, budget=budget)
    context = nullcontext if deterministic else precision_context(device, precision)
    outputs, order = [], []
    training = network.training
    network.eval()
    try:
        for rows, length in batches:
            shaped = np.resize(rows, FIXED_ROWS) if deterministic else rows
            batch = tokenizer.pad(tokens.take(shaped), length=length)
            with torch.inference_mode(), context():
                output = network(**{name: part.to(device) for name, part in batch.items()})
            outputs.append(output[: len(rows)].float().cpu().numpy())
            order.append(rows)
    finally:
        network.train(training)
    if not outputs:
        return np.empty(0, dtype=np.float32)
    gathered = np.concatenate(outputs)
    result = np.empty_like(gathered)
    result[np.concatenate(order)] = gathered
    return result


def sorted_batches(lengths: NDArray[np.int64], *, budget: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Rows by falling length, cut so that rows x longest row stays within the budget.

    Yields:
        The rows of a batch, int64, and the length to pad them to.
    """
    order = np.argsort(-lengths, kind="stable")  # longest first: a batch that doesn't fit in memory fails at once
    start = 0
    while start < len(order):
        length = max(int(lengths[order[start]]), 1)
        stop = start + max(budget // length, 1)
        yield order[start:stop], length
        start = stop


def fixed_batches(lengths: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Batches whose shape depends on nothing but the row's own length: FIXED_ROWS rows of a multiple of FIXED_STEP.

    Matrix kernels choose their order of summation by shape; equal shapes give equal bytes.
    """
    padded = -(-np.maximum(lengths, 1) // FIXED_STEP) * FIXED_STEP
    for length in np.unique(padded):
        same = np.flatnonzero(padded == length)
        for start in range(0, len(same), FIXED_ROWS):
            yield same[start : start + FIXED_ROWS], int(length)


def precision_context(device: torch.device, precision: Precision) -> Callable[[], AbstractContextManager[object]]:
    """The autocast that a precision means on a device; nothing for float32."""
    if not wants_bf16(device, precision):
        return nullcontext
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16)


def wants_bf16(device: torch.device, precision: Precision) -> bool:
    """True where a precision means bfloat16 on a device."""
    return precision == "bf16" or (precision == "auto" and has_bf16(device))


def has_bf16(device: torch.device) -> bool:
    """True where bfloat16 is computed by the hardware rather than imitated."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    known: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(known.get("amx_bf16") or known.get("avx512_bf16"))


def chunks(count: int, *, label: str) -> Iterator[int]:
    """Where each chunk of texts starts, behind a progress bar if labelled."""
    starts = range(0, count, CHUNK)
    yield from progress(starts, label=label, total=len(starts)) if label else starts
