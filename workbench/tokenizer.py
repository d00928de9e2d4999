"""Byte-level vocabularies: how they are learned, and how models take them.

Byte-level means that no text is unknown in any script. Learning with ``tokenizers`` (BPE or
Unigram) takes text as it comes; learning in parity (:mod:`workbench.merges`) makes the same
content cost every language the same. To measure a vocabulary, or to look into it, see
:mod:`workbench.cutters`.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import regex
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from workbench import cutters, disk, merges
from workbench.cutters import BYTE_OF, STAND_IN
from workbench.errors import UserError

END = "<|endoftext|>"
# Words keep a leading space, their combining marks, and within them apostrophes (l'eau, п'ять),
# middle dots (col·lega) and Armenian marks of tone (ի՞նչ); the apostrophe ʼ is a letter. Digits go
# in pairs, so that long numbers do not fill the vocabulary; white space that runs to a line's end
# is one piece.
PATTERN = (
    r"[^\r\n\p{L}\p{M}\p{N}]?[\p{L}\p{M}]+(?:['’·՛՜՞][\p{L}\p{M}]+)*|\p{N}{1,2}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Three times as fast as asking the tokenizer; the two differ only in what a character is that
# came into Unicode after version 16.
_WORDS = regex.compile(PATTERN)


def words(texts: Iterable[str]) -> Counter[str]:
    """Count the pieces that no token crosses, as the tokenizer cuts them before merging."""
    counted: Counter[str] = Counter()
    for text in texts:
        counted.update(_WORDS.findall(text))
    return counted


def train(
    texts: Iterator[str], size: int, min_frequency: int = 2, kind: str = "bpe"
) -> tokenizers.Tokenizer:
    """Train a byte-level vocabulary on text as it comes.

    Args:
        texts: documents in any order and language.
        size: tokens, the 256 bytes and the end token included.
        min_frequency: of ``bpe``: a pair must be seen so often to be merged.
        kind: ``bpe`` (Sennrich et al. 2016; over bytes: Radford et al. 2019) or ``unigram``
            (Kudo 2018, arXiv 1804.10959).

    Returns:
        A tokenizer of at most ``size`` tokens; fewer if ``texts`` hold no more. It is the same
        for any order of ``texts``; of ``unigram`` see :func:`_settled`.
    """
    tokenizer = _byte_level(models.BPE() if kind == "bpe" else models.Unigram())
    common: dict[str, Any] = {
        "vocab_size": size,
        "special_tokens": [END],
        "initial_alphabet": sorted(BYTE_OF),
        "show_progress": False,
    }
    if kind == "bpe":
        bpe = trainers.BpeTrainer(min_frequency=min_frequency, **common)
        tokenizer.train_from_iterator(texts, bpe)
        return tokenizer
    tokenizer.train_from_iterator(texts, trainers.UnigramTrainer(unk_token=None, **common))
    return _settled(tokenizer)


def _settled(tokenizer: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """Return a Unigram tokenizer whose scores and ids do not depend on the order of a hash table.

    The trainer adds up in an order that is new in every process, which moves scores by 1e-10 or
    less, and gives bytes that the text lacks scores a ten-thousandth apart in that order. Which
    tokens it keeps has not been seen to differ; nothing here could mend that.
    """
    ordinary = dict(json.loads(tokenizer.to_str())["model"]["vocab"])
    del ordinary[END]
    lowest = min(ordinary.values())
    missing = lowest + 1e-4 * len(BYTE_OF)
    settled = [
        (piece, round(lowest if len(piece) == 1 and score <= missing else score, 6))
        for piece, score in ordinary.items()
    ]
    settled.sort(key=lambda entry: (-entry[1], entry[0]))
    made = _byte_level(models.Unigram([(END, 0.0), *settled]))
    made.add_special_tokens([END])
    return made


def train_in_parity(
    counted: Mapping[str, Counter[str]],
    parallel: Mapping[str, Sequence[str]],
    size: int,
    min_frequency: int = 2,
    tolerance: float = 0.03,
    tell: Callable[[int], None] | None = None,
) -> tuple[tokenizers.Tokenizer, merges.Learned]:
    """Train a byte-level BPE vocabulary in which the same content costs every language the same.

    Args:
        counted: language to its words, from :func:`words`.
        parallel: language to its version of one text; what is measured on later must be another.
        size: tokens, the 256 bytes and the end token included.
        min_frequency: a pair must be seen so often to be merged.
        tolerance: see :func:`workbench.merges.learn`.
        tell: called now and then with the number of merges so far.
    """
    names = [END, *sorted(BYTE_OF)]
    number = {name: position for position, name in enumerate(names)}
    alphabet = np.array([number[STAND_IN[byte]] for byte in range(256)], dtype=np.int32)
    learned = merges.learn(
        counted,
        {tag: words(texts) for tag, texts in parallel.items()},
        alphabet,
        len(names),
        size,
        min_frequency,
        tolerance,
        tell,
    )
    pairs = []
    for left, right in learned.merges:
        pairs.append((names[left], names[right]))
        names.append(names[left] + names[right])
    vocabulary = {name: position for position, name in enumerate(names)}
    made = _byte_level(models.BPE(vocab=vocabulary, merges=pairs))
    made.add_special_tokens([END])
    return made, learned


def _byte_level(model: Any) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def wrap(tokenizer: tokenizers.Tokenizer) -> PreTrainedTokenizerFast:
    """Return the tokenizer as ``transformers`` knows it; one token begins, ends and pads."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END,
        eos_token=END,
        pad_token=END,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def load(where: str | Path, revision: str = "main") -> PreTrainedTokenizerFast:
    """Load a tokenizer from a folder, a ``tokenizer.json``, or a hub model's name.

    A ``tokenizer.json`` alone does not say which token ends a text: ``<|endoftext|>`` does then,
    and is added where it is not among the tokens.

    Raises:
        UserError: it cannot be read, or has no token to end a text with.
    """
    if Path(where).is_file():
        return wrap(cutters.from_file(Path(where)))
    loaded = cutters.from_transformers(where, revision)
    if loaded.eos_token_id is None:
        raise UserError(f"tokenizer {str(where)!r} has no end-of-text token")
    if loaded.pad_token_id is None:
        loaded.pad_token = loaded.eos_token
    loaded.padding_side = "left"
    return loaded


def fingerprint(tokenizer: PreTrainedTokenizerFast) -> str:
    """Return a hash of everything that decides how text becomes tokens."""
    return disk.text_hash(tokenizer.backend_tokenizer.to_str())


def encode(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[int]]:
    """Return the token ids of each text, as :func:`workbench.cutters.ids` has them."""
    return cutters.ids(tokenizer.backend_tokenizer, texts)
