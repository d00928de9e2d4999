"""Text cut into tokens by any vocabulary: opened from anywhere, measured, shown.

Text is never trusted: where it spells a special token, such as the end of a text, it becomes the
bytes of that spelling; and nothing is cut off or padded, whatever a tokenizer's file asks for.

Tokenizers of files are opened by ``tokenizers`` alone. What only ``transformers`` can open, those
of the hub and folders without a ``tokenizer.json``, loads it, and PyTorch with it, when it is
asked for.
"""

import copy
import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import regex
import tokenizers

from workbench import languages
from workbench import run as runs
from workbench.errors import UserError, nearest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# GPT-2's printable stand-ins for bytes (Radford et al. 2019): visible Latin-1 characters stand for
# themselves, the other bytes for the characters from U+0100 on, in order.
_VISIBLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
_HIDDEN = [byte for byte in range(256) if byte not in _VISIBLE]
STAND_IN = {byte: chr(byte) for byte in _VISIBLE} | {
    byte: chr(256 + number) for number, byte in enumerate(_HIDDEN)
}
BYTE_OF = {character: byte for byte, character in STAND_IN.items()}


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
        return ids(self._tokenizer, texts)

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
        return FastCutter(from_transformers(name, revision or "main").backend_tokenizer)
    path = find(reference)
    if path.suffix == ".model":
        return SentencePieceCutter(path)
    file = path / "tokenizer.json" if path.is_dir() else path
    # Not through transformers where it can be helped: it would add tokens of its own.
    if file.exists():
        return FastCutter(from_file(file))
    return FastCutter(from_transformers(path, "main").backend_tokenizer)


def find(reference: str) -> Path:
    """Return the folder or file that holds a tokenizer: ``tokenizer/<name>`` or a path.

    Raises:
        UserError: there is none.
    """
    if reference.startswith("tokenizer/") and reference.count("/") == 1:
        return runs.find_finished(reference).path / "tokenizer"
    path = Path(reference).expanduser()
    path = path if path.is_absolute() else runs.home() / path
    if not path.exists():
        beside = [file.name for kind in ("*.json", "*.model") for file in path.parent.glob(kind)]
        raise UserError(
            f"no tokenizer at {reference!r}{nearest(path.name, beside)}; it is "
            "'tokenizer/<name>', a tokenizer.json or its folder"
        )
    return path


def from_file(path: Path) -> tokenizers.Tokenizer:
    """Open a ``tokenizer.json``.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return _whole_texts(tokenizers.Tokenizer.from_file(str(path)))
    except Exception as fault:  # the tokenizers' own exceptions derive from Exception alone
        raise _unreadable(path, fault) from None


def from_transformers(where: str | Path, revision: str) -> "PreTrainedTokenizerFast":
    """Open a folder, or a model of the hub by its name, with ``transformers``.

    Raises:
        UserError: it cannot be read, or only by code that would have to be trusted.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

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


def ids(tokenizer: tokenizers.Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Return the token ids of each text, without any special token, whatever the text spells.

    Not handled: a Unigram vocabulary of others that has its special tokens among its pieces and
    cuts no words before; there the spelling of one still becomes it.
    """
    # Set each time, because calling the wrapped tokenizer resets it.
    tokenizer.encode_special_tokens = True
    encoded = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
    return [encoding.ids for encoding in encoded]


def counts(encoded: Sequence[Sequence[int]]) -> npt.NDArray[np.int64]:
    """Return the tokens of each text, shape ``(texts,)``."""
    return np.array([len(tokens) for tokens in encoded], dtype=np.int64)


def sentence_costs(
    cutter_: Cutter, texts: Mapping[str, Sequence[str]]
) -> dict[str, npt.NDArray[np.int64]]:
    """Return the tokens of each text by language, shape ``(texts,)``."""
    return {tag: counts(cutter_.encode(own)) for tag, own in texts.items()}


def describe(
    cutter_: Cutter, texts: Sequence[str], encoded: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """Return what a language's ``texts`` become, of which ``encoded`` has the token ids.

    ``tokens_per_word`` counts words at white space, which is no fair measure between languages;
    ``single_byte_share`` is the share of tokens that are one byte, ``fragment_share`` that of
    tokens which hold less than a whole character; ``vocabulary_used`` counts distinct tokens.
    """
    used = Counter(itertools.chain.from_iterable(encoded))
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
