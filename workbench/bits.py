"""Bits per byte: how well a model predicts text, comparable across tokenizers and scripts.

A document's bits are the sum of ``-log2 p(token | tokens before it)``, the first token given the
end-of-text token. Divided by the bytes of its UTF-8 text they can be compared between models with
different vocabularies (as in The Pile, arXiv 2101.00027). Documents longer than the context are
read in consecutive windows, each of which knows only itself and the last token before it. The
cost of ending a document is left out, because a byte count has no byte for it.
"""

import contextlib
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from workbench.loss import IGNORED
from workbench.packing import Shard

# Logits are by far the largest tensor, and the softmax makes copies of them: 2**22 take 16 MB each
# in float32, so that validating takes no more memory than training.
LOGITS_AT_ONCE = 2**22


def of_documents(
    model: torch.nn.Module,
    shard: Shard,
    end_token: int,
    sequence: int,
    limit: int | None = None,
    autocast: contextlib.AbstractContextManager[object] | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return bits and bytes of the first ``limit`` documents of ``shard``.

    Args:
        model: a causal language model; its mode (training or not) is left as it was.
        shard: the documents.
        end_token: id of the token that precedes each document.
        sequence: window length in tokens.
        limit: at most so many documents.
        autocast: the precision under which to compute.

    Returns:
        Two arrays of shape ``(documents,)``.
    """
    count = len(shard.ends) if limit is None else min(limit, len(shard.ends))
    windows: list[tuple[int, npt.NDArray[np.int64]]] = []
    for number in range(count):
        tokens = np.concatenate(([end_token], shard.document(number)))
        for start in range(0, len(tokens) - 1, sequence):
            windows.append((number, tokens[start : start + sequence + 1]))
    bits = np.zeros(count)
    # Windows of like length share a batch, so that little is padded.
    windows.sort(key=lambda window: len(window[1]))
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), autocast or contextlib.nullcontext():
            for batch in _batches(windows, _vocabulary(model)):
                np.add.at(bits, [number for number, _ in batch], _window_bits(model, batch))
    finally:
        model.train(was_training)
    return bits, shard.sizes[:count]


def per_byte(bits: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64]) -> float:
    """Return bits per byte over all documents together; NaN where there is no text."""
    total = int(sizes.sum())
    return float(bits.sum() / total) if total else math.nan


def interval(
    bits: npt.NDArray[np.float64],
    sizes: npt.NDArray[np.int64],
    resamples: int,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of bits per byte, resampling documents.

    The method is Efron's (1979); with the same ``seed`` and number of documents the same
    documents are drawn, so that models are compared on the same resamples.
    """
    if len(bits) < 2:
        return math.nan, math.nan
    drawn = np.random.default_rng(seed).integers(len(bits), size=(resamples, len(bits)))
    ratios = bits[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _vocabulary(model: torch.nn.Module) -> int:
    return int(model.config.vocab_size)  # type: ignore[union-attr, arg-type]


def _batches(
    windows: Sequence[tuple[int, npt.NDArray[np.int64]]], vocabulary: int
) -> list[list[tuple[int, npt.NDArray[np.int64]]]]:
    batches: list[list[tuple[int, npt.NDArray[np.int64]]]] = []
    tokens = max(1, LOGITS_AT_ONCE // vocabulary)
    for window in windows:
        longest = len(window[1])
        if not batches or (len(batches[-1]) + 1) * longest > tokens:
            batches.append([])
        batches[-1].append(window)
    return batches


def _window_bits(
    model: torch.nn.Module, batch: Sequence[tuple[int, npt.NDArray[np.int64]]]
) -> npt.NDArray[np.float64]:
    """Return the bits of each window, shape ``(windows,)``."""
    longest = max(len(tokens) for _, tokens in batch) - 1
    inputs = torch.zeros(len(batch), longest, dtype=torch.long)  # (windows, longest)
    targets = torch.full((len(batch), longest), IGNORED)  # (windows, longest)
    for row, (_, tokens) in enumerate(batch):
        inputs[row, : len(tokens) - 1] = torch.from_numpy(tokens[:-1])
        targets[row, : len(tokens) - 1] = torch.from_numpy(tokens[1:])
    device = next(model.parameters()).device
    # Padding stands to the right, where causal attention never looks: no mask is needed.
    logits = model(input_ids=inputs.to(device), use_cache=False).logits  # (windows, longest, vocab)
    nats = F.cross_entropy(
        logits.float().flatten(0, 1),
        targets.to(device).flatten(),
        ignore_index=IGNORED,
        reduction="none",
    )
    summed = nats.view(len(batch), longest).double().sum(dim=1)
    result: npt.NDArray[np.float64] = summed.cpu().numpy() / math.log(2)
    return result
