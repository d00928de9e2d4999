"""Bits per byte: how well a model predicts text, comparable across tokenizers and scripts.

A document's bits are the sum of ``-log2 p(token | tokens before it)``, the first token given the
end-of-text token. Divided by the bytes of its UTF-8 text they can be compared between models with
different vocabularies (as in The Pile, arXiv 2101.00027). Documents longer than the context are
read in consecutive windows, each of which knows only itself and the last token before it. The
cost of ending a document is left out, because a byte count has no byte for it.

:func:`of_second_halves` is the score of Goldfish (Chang et al. 2024, arXiv 2408.10441): the bits of
a sentence's second half, given its first. A model that knows many languages has found out by then
which one it reads, so it is compared fairly with one that only knows that one.

Where several processes train together each measures its share of the documents, all of them call
the model equally often, as a model in shards needs, and each returns the bits of every document.
"""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from transformers import PreTrainedTokenizerFast

from workbench import processes, tokenizer
from workbench.loss import IGNORED
from workbench.packing import Shard

# Logits are by far the largest tensor, and the softmax makes copies of them: 2**22 take 16 MB each
# in float32, so that validating takes no more memory than training.
LOGITS_AT_ONCE = 2**22


@dataclass(frozen=True)
class _Window:
    """Tokens that are read at once, each knowing only those before it."""

    number: int
    """Which document it is of."""
    tokens: npt.NDArray[np.int64]
    """Shape ``(targets + 1,)``; the first one is only known, never predicted."""
    counted: npt.NDArray[np.bool_]
    """Shape ``(targets,)``: whose bits count."""


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
    (measured,) = of_shards(model, {"": shard}, end_token, sequence, limit, autocast).values()
    return measured


def of_shards(
    model: torch.nn.Module,
    shards: Mapping[str, Shard],
    end_token: int,
    sequence: int,
    limit: int | None = None,
    autocast: contextlib.AbstractContextManager[object] | None = None,
) -> dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]]:
    """Return for each of ``shards`` what :func:`of_documents` does, measured together."""
    windows: list[_Window] = []
    places: dict[str, slice] = {}
    total = 0
    for name, shard in shards.items():
        count = len(shard.ends) if limit is None else min(limit, len(shard.ends))
        for number in range(count):
            tokens = np.concatenate(([end_token], shard.document(number)))
            counted = np.ones(len(tokens) - 1, dtype=bool)
            windows += _windows(total + number, tokens, counted, sequence)
        places[name] = slice(total, total + count)
        total += count
    bits = _measure(model, windows, total, autocast)
    return {
        name: (bits[place], shards[name].sizes[: place.stop - place.start])
        for name, place in places.items()
    }


def of_second_halves(
    model: torch.nn.Module,
    tokenizer_: PreTrainedTokenizerFast,
    sentences: Sequence[str],
    sequence: int,
    autocast: contextlib.AbstractContextManager[object] | None = None,
) -> npt.NDArray[np.float64]:
    """Return the bits of each sentence's second half given its first: the score of Goldfish.

    It is measured as ``eval_code/flores_eval_goldfish.py`` of github.com/tylerachang/goldfish
    measures it. A sentence without the blanks around it, of ``n`` characters (code points), has a
    first half of ``n // 2``. The whole is cut into tokens, the first half is cut by itself, and of
    the whole as many tokens are left out as the first half alone has. So a token that spans the
    middle is mostly left out, and with it one more for every further token that the first half
    alone takes for its part of it, which favours vocabularies that cut half a word into many
    pieces; where the first half alone has fewer, that token counts. The end-of-text token stands
    before the sentence, where Goldfish puts its ``[CLS]``, and none is counted after it. An unknown
    token takes ``log2`` of the vocabulary.

    One thing is not done alike: what goes beyond ``sequence`` is cut off there, at 512 tokens, and
    read here in a further window, because bits that are left out would make a model look better.

    Args:
        model: a causal language model; its mode (training or not) is left as it was.
        tokenizer_: what cuts the sentences for it.
        sentences: texts, none of them needing a particular length.
        sequence: window length in tokens.
        autocast: the precision under which to compute.

    Returns:
        An array of shape ``(sentences,)``; 0 where no token is left to count.
    """
    texts = [sentence.strip() for sentence in sentences]
    wholes = tokenizer.encode(tokenizer_, texts)
    halves = tokenizer.encode(tokenizer_, [text[: len(text) // 2] for text in texts])
    end = int(tokenizer_.eos_token_id)
    unknown = tokenizer_.unk_token_id
    by_chance = np.zeros(len(texts))
    windows: list[_Window] = []
    for number, (whole, half) in enumerate(zip(wholes, halves, strict=True)):
        tokens = np.array([end, *whole], dtype=np.int64)
        counted = np.arange(len(whole)) >= len(half)
        if unknown is not None:
            strange = counted & (tokens[1:] == unknown)
            by_chance[number] = strange.sum() * math.log2(tokenizer_.vocab_size)
            counted &= ~strange
        windows += _windows(number, tokens, counted, sequence)
    return by_chance + _measure(model, windows, len(texts), autocast)


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


def _windows(
    number: int, tokens: npt.NDArray[np.int64], counted: npt.NDArray[np.bool_], sequence: int
) -> list[_Window]:
    """Return the windows of a document in which anything counts."""
    return [
        _Window(number, tokens[start : start + sequence + 1], counted[start : start + sequence])
        for start in range(0, len(counted), sequence)
        if counted[start : start + sequence].any()
    ]


def _measure(
    model: torch.nn.Module,
    windows: list[_Window],
    count: int,
    autocast: contextlib.AbstractContextManager[object] | None,
) -> npt.NDArray[np.float64]:
    """Return the bits of each of ``count`` documents, shape ``(count,)``."""
    bits = np.zeros(count)
    # Windows of like length share a batch, so that little is padded.
    windows.sort(key=lambda window: len(window.tokens))
    shares: list[list[_Window]] = [[] for _ in range(processes.count())]
    for window in windows:
        shares[window.number % len(shares)].append(window)
    batches = [_batches(share, _vocabulary(model)) for share in shares]
    own, turns = batches[processes.rank()], max(map(len, batches))
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), autocast or contextlib.nullcontext():
            for batch in own:
                np.add.at(bits, [window.number for window in batch], _window_bits(model, batch))
            for _ in range(turns - len(own)):
                _window_bits(model, windows[:1])
    finally:
        model.train(was_training)
    return processes.summed(bits)


def _vocabulary(model: torch.nn.Module) -> int:
    return int(model.config.vocab_size)  # type: ignore[union-attr, arg-type]


def _batches(windows: Sequence[_Window], vocabulary: int) -> list[list[_Window]]:
    batches: list[list[_Window]] = []
    tokens = max(1, LOGITS_AT_ONCE // vocabulary)
    for window in windows:
        longest = len(window.tokens)
        if not batches or (len(batches[-1]) + 1) * longest > tokens:
            batches.append([])
        batches[-1].append(window)
    return batches


def _window_bits(model: torch.nn.Module, batch: Sequence[_Window]) -> npt.NDArray[np.float64]:
    """Return the bits of each window, shape ``(windows,)``."""
    longest = max(len(window.counted) for window in batch)
    inputs = torch.zeros(len(batch), longest, dtype=torch.long)  # (windows, longest)
    targets = torch.full((len(batch), longest), IGNORED)  # (windows, longest)
    for row, window in enumerate(batch):
        counted = np.where(window.counted, window.tokens[1:], IGNORED)
        inputs[row, : len(counted)] = torch.from_numpy(window.tokens[:-1])
        targets[row, : len(counted)] = torch.from_numpy(counted)
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
