"""Byte-level BPE vocabularies, trained on an even sample of the languages.

Byte-level means that no text is unknown in any script; an even sample means that no language is
left to be spelled out in bytes because there was less of it.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from workbench import corpus, languages
from workbench import run as runs
from workbench.errors import UserError
from workbench.recipe import TokenizerRecipe

END = "<|endoftext|>"
# Words keep a leading space and their combining marks; digits go in pairs, so that long numbers
# do not fill the vocabulary; white space that runs to a line's end is one piece.
PATTERN = (
    r"[^\r\n\p{L}\p{M}\p{N}]?[\p{L}\p{M}]+|\p{N}{1,2}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def make(run: runs.Run, recipe: TokenizerRecipe) -> None:
    """Train the vocabulary that ``recipe`` asks for, and measure it on held-out text.

    Raises:
        UserError: the sources hold no text, or too little of it for so many tokens.
    """
    faults = corpus.Faults(run.path / runs.QUARANTINE)
    sample = _Sample(recipe, faults)
    trained = train(iter(sample), recipe.vocabulary.size, recipe.vocabulary.min_frequency)
    faults.close()
    if not sample.documents.total():
        raise UserError(f"the sources of {run.reference} hold no document; see its record")
    reached = trained.get_vocab_size()
    if reached < recipe.vocabulary.size:
        raise UserError(
            f"the text fills only {reached:,} of the {recipe.vocabulary.size:,} tokens asked for; "
            f"set vocabulary.size={reached // 100 * 100} or add text"
        )
    wrapped = wrap(trained)
    with runs.told_when_full(run.path):
        wrapped.save_pretrained(run.path / "tokenizer")
    run.result("languages", measure(wrapped, sample.held_out))
    run.used_data(corpus.describe(corpus.resolve(recipe.data)))
    run.happened(
        documents=dict(sample.documents),
        trained_on_bytes=dict(sample.bytes),
        faults=faults.summary(),
        vocabulary=reached,
    )


def train(texts: Iterator[str], size: int, min_frequency: int) -> tokenizers.Tokenizer:
    """Train byte-level BPE (Sennrich et al. 2016; over bytes: Radford et al. 2019).

    Returns:
        A tokenizer of at most ``size`` tokens; fewer if ``texts`` hold no more pairs that occur
        ``min_frequency`` times.
    """
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
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

    Raises:
        UserError: it cannot be read, or has no token to end a text with.
    """
    try:
        if Path(where).is_file():
            return wrap(tokenizers.Tokenizer.from_file(str(where)))
        loaded: Any = AutoTokenizer.from_pretrained(
            str(where), revision=revision, trust_remote_code=False
        )
    except Exception as fault:  # the tokenizers' own exceptions derive from Exception alone
        raise UserError(
            f"tokenizer {str(where)!r} cannot be read: {str(fault).splitlines()[0][:200]}"
        ) from None
    if loaded.eos_token_id is None:
        raise UserError(f"tokenizer {str(where)!r} has no end-of-text token")
    if loaded.pad_token_id is None:
        loaded.pad_token = loaded.eos_token
    loaded.padding_side = "left"
    made: PreTrainedTokenizerFast = loaded
    return made


def fingerprint(tokenizer: PreTrainedTokenizerFast) -> str:
    """Return a hash of everything that decides how text becomes tokens."""
    return runs.text_hash(tokenizer.backend_tokenizer.to_str())


def encode(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[int]]:
    """Return the token ids of each text, without any special token."""
    return [
        encoding.ids
        for encoding in tokenizer.backend_tokenizer.encode_batch_fast(
            texts, add_special_tokens=False
        )
    ]


def measure(
    tokenizer: PreTrainedTokenizerFast, texts: dict[str, list[str]]
) -> list[dict[str, Any]]:
    """Return one row a language: what its text costs in tokens.

    Where the languages' texts are translations of each other, ``tokens_relative_to_english`` is
    the price of the same content; elsewhere it is left out (``None``).
    """
    rows: list[dict[str, Any]] = []
    totals = {tag: sum(map(len, encode(tokenizer, own))) for tag, own in texts.items()}
    aligned = len({len(own) for own in texts.values()}) == 1
    english = totals.get("eng_Latn", 0) if aligned else 0
    for language in languages.all_languages():
        own = texts.get(language.tag, [])
        if not own:
            continue
        joined = "".join(own)
        tokens = totals[language.tag]
        size = len(joined.encode())
        rows.append(
            {
                "tag": language.tag,
                "language": language.name,
                "script": language.script,
                "documents": len(own),
                "bytes": size,
                "characters": len(unicodedata.normalize("NFC", joined)),
                "tokens": tokens,
                "bytes_per_token": size / tokens,
                "tokens_per_word": tokens / max(1, len(" ".join(own).split())),
                "tokens_relative_to_english": tokens / english if english else None,
            }
        )
    return rows


class _Sample:
    """Streams training text, evenly over languages, and keeps some held-out text to measure on."""

    def __init__(self, recipe: TokenizerRecipe, faults: corpus.Faults) -> None:
        self._recipe = recipe
        self._faults = faults
        self.documents: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.held_out: dict[str, list[str]] = defaultdict(list)
        self._held_bytes: Counter[str] = Counter()

    def __iter__(self) -> Iterator[str]:
        limit = self._recipe.vocabulary.bytes_per_language
        progress = runs.Progress(f"tokenizer {self._recipe.name}")
        for document in corpus.read(self._recipe.data, self._faults):
            self.documents[document.lang] += 1
            size = len(document.text.encode())
            if corpus.split_of(document.id, self._recipe.data) == "test":
                if self._held_bytes[document.lang] < limit // 10:
                    self._held_bytes[document.lang] += size
                    self.held_out[document.lang].append(document.text)
            elif self.bytes[document.lang] < limit:
                self.bytes[document.lang] += size
                yield document.text
            progress.update(f"{self.documents.total():,} documents read")
        progress.done(f"{self.documents.total():,} documents read, learning merges")
