"""Parity-aware BPE as published: the language that pays most chooses the next merge alone.

Written anew from the description of its base variant in Foroutan et al. 2025 (arXiv 2508.04796),
to have something to hold `workbench.merges` against on equal text, words and sizes. It leans on
the inside of that module: one table a language, of which each says its own most frequent pair.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import tokenizers

from workbench import cutters, merges, tokenizer

NOWHERE = np.empty(0, dtype=np.int32)
MIN_FREQUENCY = 2


def learn(
    words: Mapping[str, Counter[str]],
    same: Mapping[str, Counter[str]],
    alphabet: merges.Places,
    first: int,
    size: int,
) -> list[tuple[int, int]]:
    """Return merges of token ids, as :func:`workbench.merges.learn` does."""
    tables = {}
    for tag, own in words.items():
        # Weights play no part: within a table all words are of one language.
        table = merges._Table({tag: own}, {tag: same[tag]}, alphabet)
        table.weigh(tolerance=1.0, min_frequency=MIN_FREQUENCY)
        tables[tag] = table
    open_tags = set(tables)
    learned: list[tuple[int, int]] = []
    while open_tags and first + len(learned) < size:
        dearest = max(sorted(open_tags), key=lambda tag: float(tables[tag]._costs[0]))
        key = tables[dearest].best(MIN_FREQUENCY)
        if key is None:
            open_tags.remove(dearest)
            continue
        made = first + len(learned)
        for table in tables.values():
            if not _has(table, key):
                continue
            table._places(key)
            table.merge(key, made)
            # The pair may still lie in this table's heap; it stands nowhere any more.
            table._where[key] = NOWHERE
        learned.append((key >> merges.SHIFT, key & merges.MASK))
    return learned


def _has(table: merges._Table, key: int) -> bool:
    """Return whether a pair has ever stood in a table."""
    group = int(np.searchsorted(table._keys, key))
    return key in table._where or (group < len(table._keys) and bool(table._keys[group] == key))


def train(
    counted: Mapping[str, Counter[str]], same: Mapping[str, Sequence[str]], size: int
) -> tokenizers.Tokenizer:
    """Return a tokenizer with the alphabet, the words and the end token of the workbench's own."""
    names = [tokenizer.END, *sorted(cutters.BYTE_OF)]
    number = {name: position for position, name in enumerate(names)}
    alphabet = np.array([number[cutters.STAND_IN[byte]] for byte in range(256)], dtype=np.int32)
    versions = {tag: tokenizer.words(texts) for tag, texts in same.items()}
    pairs = []
    for left, right in learn(counted, versions, alphabet, len(names), size):
        pairs.append((names[left], names[right]))
        names.append(names[left] + names[right])
    made = tokenizer.train(iter([]), len(names) - len(pairs))
    vocabulary = {name: position for position, name in enumerate(names)}
    made.model = tokenizers.models.BPE(vocab=vocabulary, merges=pairs)
    made.add_special_tokens([tokenizer.END])
    return made
