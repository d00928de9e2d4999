"""Byte-level vocabularies: how they are learned, opened, and what text becomes in them.

Byte-level means that no text is unknown in any script. Learning with ``tokenizers`` (BPE or
Unigram) takes text as it comes; learning in parity (:mod:`workbench.merges`) makes the same
content cost every language the same. Text is never trusted: where it spells a special token, such
as the end of a text, it becomes the bytes of that spelling.
"""

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import regex
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from workbench import disk, languages, merges
from workbench import run as runs
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
# GPT-2's printable stand-ins for bytes (Radford et al. 2019): visible Latin-1 characters stand for
# themselves, the other bytes for the characters from U+0100 on, in order.
_VISIBLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
_HIDDEN = [byte for byte in range(256) if byte not in _VISIBLE]
STAND_IN = {byte: chr(byte) for byte in _VISIBLE} | {
    byte: chr(256 + number) for number, byte in enumerate(_HIDDEN)
}
BYTE_OF = {character: byte for byte, character in STAND_IN.items()}


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


def folder_of(reference: str) -> Path:
    """Return the folder or file that holds a tokenizer: ``tokenizer/<name>`` or a path.

    Raises:
        UserError: there is none.
    """
    if reference.startswith("tokenizer/"):
        return runs.find_finished(reference).path / "tokenizer"
    path = Path(reference).expanduser()
    path = path if path.is_absolute() else runs.home() / path
    if not path.exists():
        raise UserError(
            f"no tokenizer at {reference!r}; it is 'tokenizer/<name>' or a tokenizer.json"
        )
    return path


def load(where: str | Path, revision: str = "main") -> PreTrainedTokenizerFast:
    """Load a tokenizer from a folder, a ``tokenizer.json``, or a hub model's name.

    A ``tokenizer.json`` alone does not say which token ends a text: ``<|endoftext|>`` does then,
    and is added where it is not among the tokens.

    Raises:
        UserError: it cannot be read, or has no token to end a text with.
    """
    if Path(where).is_file():
        return wrap(_from_file(Path(where)))
    loaded = _opened(where, revision)
    if loaded.eos_token_id is None:
        raise UserError(f"tokenizer {str(where)!r} has no end-of-text token")
    if loaded.pad_token_id is None:
        loaded.pad_token = loaded.eos_token
    loaded.padding_side = "left"
    return loaded


def _from_file(path: Path) -> tokenizers.Tokenizer:
    try:
        return _whole_texts(tokenizers.Tokenizer.from_file(str(path)))
    except Exception as fault:  # the tokenizers' own exceptions derive from Exception alone
        raise _unreadable(path, fault) from None


def _opened(where: str | Path, revision: str) -> PreTrainedTokenizerFast:
    try:
        opened: Any = AutoTokenizer.from_pretrained(
            str(where), revision=revision, trust_remote_code=False
        )
    except Exception as fault:  # transformers', the client's and the tokenizers' own
        raise _unreadable(where, fault) from None
    if not isinstance(opened, PreTrainedTokenizerFast):
        raise UserError(f"tokenizer {str(where)!r} has no tokenizer.json, and none can be made")
    _whole_texts(opened.backend_tokenizer)
    return opened


def _unreadable(where: str | Path, fault: Exception) -> UserError:
    first = next(iter(str(fault).strip().splitlines()), type(fault).__name__)
    return UserError(f"tokenizer {str(where)!r} cannot be read: {first[:200]}")


def _whole_texts(tokenizer: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """Undo cutting and padding to a length, which some files ask for and which loses text."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def fingerprint(tokenizer: PreTrainedTokenizerFast) -> str:
    """Return a hash of everything that decides how text becomes tokens."""
    return disk.text_hash(tokenizer.backend_tokenizer.to_str())


def encode(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[int]]:
    """Return the token ids of each text, without any special token, whatever the text spells.

    Not handled: a Unigram vocabulary of others that has its special tokens among its pieces and
    cuts no words before; there the spelling of one still becomes it.
    """
    return _ids(tokenizer.backend_tokenizer, texts)


def _ids(tokenizer: tokenizers.Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    # Set each time, because calling the wrapped tokenizer resets it.
    tokenizer.encode_special_tokens = True
    encoded = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [encoding.ids for encoding in encoded]


class Cutter(Protocol):
    """Whatever cuts text into tokens, as far as measuring goes."""

    @property
    def size(self) -> int:
        """Tokens in the vocabulary."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, without special tokens."""

    def bytes_of(self, token: int) -> bytes:
        """Return the bytes that a token stands for; none for a special token."""


class FastCutter:
    """A ``tokenizers`` tokenizer: byte-level, or with ``▁`` for spaces and ``<0x41>`` for bytes.

    Not handled: the ``##`` of WordPiece, which counts as text; what an unknown token swallowed.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self._tokenizer = _whole_texts(copy.deepcopy(tokenizer))
        self._added = {
            number: b"" if token.special else token.content.encode()
            for number, token in tokenizer.get_added_tokens_decoder().items()
        }
        self._byte_level = '"ByteLevel"' in json.dumps(
            [json.loads(tokenizer.to_str()).get(part) for part in ("pre_tokenizer", "decoder")]
        )

    @property
    def size(self) -> int:
        return self._tokenizer.get_vocab_size()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return _ids(self._tokenizer, texts)

    def bytes_of(self, token: int) -> bytes:
        if token in self._added:
            return self._added[token]
        text = self._tokenizer.id_to_token(token) or ""
        if self._byte_level and all(character in BYTE_OF for character in text):
            return bytes(BYTE_OF[character] for character in text)
        return _bytes_of_piece(text)


class SentencePieceCutter:
    """A ``.model`` file of SentencePiece (Kudo and Richardson 2018, arXiv 1808.06226)."""

    def __init__(self, path: Path) -> None:
        try:
            import sentencepiece
        except ImportError:
            raise UserError(
                f"{path} is a SentencePiece model; opening it needs: pip install sentencepiece"
            ) from None
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        except (OSError, RuntimeError) as fault:
            raise _unreadable(path, fault) from None

    @property
    def size(self) -> int:
        return int(self._model.vocab_size())

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        encoded: list[list[int]] = self._model.encode(list(texts))
        return encoded

    def bytes_of(self, token: int) -> bytes:
        if self._model.is_control(token) or self._model.is_unknown(token):
            return b""
        return _bytes_of_piece(self._model.id_to_piece(token))


def _bytes_of_piece(piece: str) -> bytes:
    if regex.fullmatch("<0x[0-9A-F]{2}>", piece):
        return bytes([int(piece[3:5], 16)])
    return piece.replace("▁", " ").encode()


def cutter(reference: str) -> Cutter:
    """Open any tokenizer to measure it.

    Args:
        reference: ``tokenizer/<name>``, a folder, a ``tokenizer.json``, a SentencePiece
            ``.model``, or ``hub:owner/name@revision``.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    if reference.startswith("hub:"):
        name, _, revision = reference.removeprefix("hub:").partition("@")
        return FastCutter(_opened(name, revision or "main").backend_tokenizer)
    path = folder_of(reference)
    if path.suffix == ".model":
        return SentencePieceCutter(path)
    file = path / "tokenizer.json" if path.is_dir() else path
    # Not through transformers where it can be helped: it would add tokens of its own.
    if file.exists():
        return FastCutter(_from_file(file))
    return FastCutter(_opened(path, "main").backend_tokenizer)


def sentence_costs(
    cutter_: Cutter, texts: Mapping[str, Sequence[str]]
) -> dict[str, npt.NDArray[np.int64]]:
    """Return the tokens of each text by language, shape ``(texts,)``."""
    return {
        tag: np.array([len(ids) for ids in cutter_.encode(own)], dtype=np.int64)
        for tag, own in texts.items()
    }


def describe(cutter_: Cutter, texts: Sequence[str]) -> dict[str, Any]:
    """Return what a language's texts become.

    ``tokens_per_word`` counts words at white space, which is no fair measure between languages;
    ``single_byte_share`` is the share of tokens that are one byte, ``fragment_share`` that of
    tokens which hold less than a whole character; ``vocabulary_used`` counts distinct tokens.
    """
    encoded = cutter_.encode(texts)
    used = Counter(token for ids in encoded for token in ids)
    tokens = used.total()
    characters = sum(map(len, texts))
    size = sum(len(text.encode()) for text in texts)
    pieces = {token: cutter_.bytes_of(token) for token in used}
    single = sum(count for token, count in used.items() if len(pieces[token]) == 1)
    fragments = sum(count for token, count in used.items() if not _whole(pieces[token]))
    return {
        "documents": len(texts),
        "bytes": size,
        "characters": characters,
        "tokens": tokens,
        "bytes_per_token": size / max(1, tokens),
        "characters_per_token": characters / max(1, tokens),
        "tokens_per_word": tokens / max(1, sum(len(text.split()) for text in texts)),
        "single_byte_share": single / max(1, tokens),
        "fragment_share": fragments / max(1, tokens),
        "vocabulary_used": len(used),
    }


def _whole(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError:
        return False
    return True


def pieces(cutter_: Cutter, text: str) -> list[str]:
    """Return ``text`` as its tokens cut it, for people to look at.

    Example:
        ``"Ġμ", "ή"`` become ``" μ", "ή"``; a token that holds part of a character is shown by its
        bytes, such as ``"⟨E1 83⟩"``.
    """
    shown = []
    for token in cutter_.encode([text])[0]:
        piece = cutter_.bytes_of(token)
        whole = piece.decode() if _whole(piece) else f"⟨{piece.hex(' ').upper()}⟩"
        shown.append(whole)
    return shown


def scripts(cutter_: Cutter) -> dict[str, int]:
    """Return how many tokens of the vocabulary belong to each script.

    A token belongs to the script of its letters; ``Common`` are digits, signs and spaces,
    ``Mixed`` tokens of several scripts, ``Fragment`` those that hold part of a character.
    """
    counted: Counter[str] = Counter()
    for token in range(cutter_.size):
        piece = cutter_.bytes_of(token)
        counted[_script(piece.decode()) if _whole(piece) else "Fragment"] += 1
    return dict(counted.most_common())


_SCRIPTS = {name: regex.compile(rf"\p{{Script={name}}}") for name in languages.SCRIPTS.values()}
_OTHER = regex.compile(r"(?V1)[\p{L}--\p{Script=Common}]")


def _script(text: str) -> str:
    found = [name for name, pattern in _SCRIPTS.items() if pattern.search(text)]
    if len(found) == 1:
        return found[0]
    if found:
        return "Mixed"
    return "Other" if _OTHER.search(text) else "Common"
