"""What the characters, words and lines of a document tell of its quality, many documents at once.

A batch of texts is laid end to end as code points; whatever is asked of a document is then asked
of all of them with a handful of numpy calls. Code points fall into a hundred classes of equal
traits, so that one histogram, documents by classes, answers every question that begins with
"how many characters are". Words, lines and paragraphs are stretches of code points with a 64-bit
hash each; two of them are taken to be equal when their hashes are, which errs about once in
10^19 pairs, unless somebody makes texts to that end. Case does not count in a hash.

What is not handled: languages written without spaces between words, words that a soft hyphen or a
line end has cut in two, and the two letters i of Turkish, whose capitals hash like one. A batch
takes about 50 bytes of memory a character while it is measured.
"""

import enum
import functools
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import regex

from workbench import languages

Points = npt.NDArray[np.uint32]
Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Signal = npt.NDArray[np.int64] | npt.NDArray[np.float64]
T = TypeVar("T")

# Fastest where what belongs to a batch stays in a core's second cache, and calls are few enough.
BATCH_CHARACTERS = 2**18
# A histogram has a row for every document, however short.
BATCH_DOCUMENTS = 2**12

# What joins two parts of a word: apostrophes, the Catalan middle dot, hyphens, and the Armenian
# marks of stress, exclamation and question, which stand above a vowel.
INNER = "'’·-‐‑՛՜՞"
# Signs that end a sentence in every script, and those that do so in texts of one script.
SENTENCE_ENDS = ".!?…։"
SENTENCE_ENDS_IN = {";": "Grek", "\u037e": "Grek", ":": "Armn"}
CLOSING = "\"'”“’»)"
# The signs of C4 (a sentence's end or a closing quotation mark) for the registry's scripts.
LINE_ENDS = SENTENCE_ENDS + ";·\u037e\u0387" + "\"'”“’‘»«›‹„"
# Dashes are left out: in much of Europe they open direct speech.
BULLETS = "•-*‣◦▪●■"
SHORT_LINE = 30
# Words in a row, with the shares that Gopher allows at most.
TOP_GRAMS = {2: 0.2, 3: 0.18, 4: 0.16}
DUPLICATE_GRAMS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1}
# Symbols, numbers such as ², control and format characters, and punctuation like § and ¿.
TRACE_CATEGORIES = frozenset(("Sc", "Sk", "Sm", "So", "No", "Cc", "Cf", "Po"))
# The first 64 bits behind the point of the square roots of 2, 3, 5 and 7; bases have to be odd.
POINT_OFFSET = np.uint64(0x6A09E667F3BCC908)
POWER_BASE = 0xBB67AE8584CAA73B
GRAM_BASE = np.uint64(0x3C6EF372FE94F82B)
DOCUMENT_STEP = np.uint64(0xA54FF53A5F1D36F1)

GOPHER = "Gopher, arXiv 2112.11446"
FINEWEB = "FineWeb, arXiv 2406.17557"
# For each signal what it is, its unit, and the source with the limit that it sets.
SIGNALS: dict[str, str] = {
    "characters": "code points of the document",
    "bytes": "bytes of UTF-8; a lone surrogate, which UTF-8 cannot express, counts three",
    "words": f"runs of letters, marks and digits, and their inner signs ({GOPHER}: 50 to 100,000)",
    "sentences": "signs that end a sentence before white space, a closing sign or the end; at "
    "least 1 where there is a word",
    "lines": "lines that are not blank",
    "paragraphs": "stretches of lines between blank lines",
    "letters": "letters of any script",
    "mixed_script_words": "words in which letters of two scripts stand side by side: look-alikes",
    "control": "control characters but tab, line feed and carriage return",
    "unassigned": "code points that Unicode gives no meaning, lone surrogates included",
    "private_use": "code points whose meaning is a private agreement",
    "replacement": "characters U+FFFD, where bytes could not be decoded",
    "not_nfc": "1 where the text is not in Normalization Form C (Unicode Annex 15), else 0",
    "mojibake": "pairs of characters left by UTF-8 read as Latin-1 or Windows-1250 to 1253",
    "digit_share": "decimal digits, share of characters",
    "upper_case_share": "upper-case letters, share of letters",
    "punctuation_share": "punctuation, share of characters",
    "white_space_share": "white space, share of characters",
    "longest_word": "characters of the longest word",
    "mean_word_length": f"characters a word ({GOPHER}: 3 to 10)",
    "alphabetic_word_share": f"words with a letter, share of words ({GOPHER}: at least 0.8)",
    "hash_signs_per_word": f"signs # a word ({GOPHER}: at most 0.1)",
    "ellipses_per_word": f"ellipses, one sign or three dots, a word ({GOPHER}: at most 0.1)",
    "bullet_line_share": f"lines that begin with a bullet, share of lines ({GOPHER}: at most 0.9)",
    "ellipsis_line_share": f"lines that end with an ellipsis, share of lines ({GOPHER}: at most "
    "0.3)",
    "duplicate_line_share": f"lines that occurred before, share of lines ({GOPHER}: at most 0.3)",
    "duplicate_line_character_share": "characters of lines that occurred before, share of "
    f"characters ({GOPHER}: at most 0.2)",
    "duplicate_paragraph_share": "paragraphs that occurred before, share of paragraphs "
    f"({GOPHER}: at most 0.3)",
    "duplicate_paragraph_character_share": "characters of paragraphs that occurred before, share "
    f"of characters ({GOPHER}: at most 0.2)",
    **{
        f"top_{n}_gram_share": f"characters of the {n} words in a row that occur most often, each "
        f"time, share of characters; 0 if none occurs twice ({GOPHER}: at most {limit})"
        for n, limit in TOP_GRAMS.items()
    },
    **{
        f"duplicate_{n}_gram_share": f"characters covered by {n} words in a row that occurred "
        f"before, each counted once, share of characters ({GOPHER}: at most {limit})"
        for n, limit in DUPLICATE_GRAMS.items()
    },
    "terminal_line_share": "lines that end with a sentence's end or a quotation mark, share of "
    f"lines ({FINEWEB}: at least 0.12)",
    "short_line_share": f"lines of at most {SHORT_LINE} characters, share of lines ({FINEWEB}: at "
    "most 0.67)",
    "newlines_per_word": "line feeds a word (FineWeb's filter in datatrove: at most 0.3)",
    "duplicate_character_share": "characters of lines that occurred before, share of characters "
    f"that are not line feeds ({FINEWEB}: at most 0.1)",
}
SCRIPT_COLUMNS = (*languages.SCRIPTS, "other")


class Batch:
    """Texts laid end to end, with a separator before, between and after them.

    Starts and ends are positions in ``points``; an end is the position after the last one.

    Args:
        texts: one text a document, ``(documents,)``; all of them in memory at once.
    """

    points: Points
    """Code points of all texts and separators; shape ``(characters + documents + 1,)``."""
    classes: npt.NDArray[np.uint8]
    """For each code point the class of its traits."""
    doc_start: Indices
    doc_end: Indices
    word_start: Indices
    word_end: Indices
    word_doc: Indices
    """For each word the number of its document; ``line_doc`` and ``paragraph_doc`` likewise."""
    word_hash: Hashes
    """The same word has the same hash in every batch, on every machine."""
    doc_words: Indices
    """The words of document d are ``doc_words[d]`` to ``doc_words[d + 1]``, likewise lines."""
    line_start: Indices
    """Lines are parted by line feeds; blank ones are left out, white space around is stripped."""
    line_end: Indices
    line_doc: Indices
    line_hash: Hashes
    doc_lines: Indices
    paragraph_start: Indices
    """Paragraphs are parted by blank lines."""
    paragraph_end: Indices
    paragraph_doc: Indices
    paragraph_hash: Hashes
    doc_paragraphs: Indices

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.documents = len(texts)
        joined = "\0".join(("", *texts, "")) if texts else "\0"
        self.points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        sizes = np.fromiter(map(len, texts), dtype=np.int64, count=self.documents)
        self.doc_end = np.cumsum(sizes + 1)
        self.doc_start = self.doc_end - sizes
        # A null in a text is a control character; only where a separator stands is it one.
        self.classes = _table().class_of.take(self.points, mode="clip")
        self.classes[0] = self.classes[self.doc_end] = _table().separator
        self._class_bytes = self.classes.tobytes()
        self._sums = self._running_sums()
        self._find_words()
        self._find_lines()

    @functools.cached_property
    def histogram(self) -> Indices:
        """How many characters of each class a document has; shape ``(documents, classes)``."""
        width = len(_table().traits)
        rows = np.repeat(np.arange(self.documents) * width, self.doc_end - self.doc_start + 1)
        counts = np.bincount(rows + self.classes[1:], minlength=self.documents * width)
        return counts.reshape(self.documents, width)

    def count(self, traits: int) -> Indices:
        """Return how many characters of each document have any of ``traits``."""
        counts: Indices = self.histogram[:, (_table().traits & traits) != 0].sum(axis=1)
        return counts

    def where(self, traits: int) -> Mask:
        """Return which code points have any of ``traits``; shape of ``points``, read-only."""
        return self.by_class((_table().traits & traits) != 0).view(np.bool_)

    def by_class(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
        """Return for every code point the value of its class, at most 255; read-only."""
        wide = bytes(values.astype(np.uint8)).ljust(256, b"\0")
        # Faster than numpy's take, which widens every index to 64 bits.
        return np.frombuffer(self._class_bytes.translate(wide), dtype=np.uint8)

    def doc_of(self, positions: Indices) -> Indices:
        """Return the documents in which positions of ``points`` lie."""
        return np.searchsorted(self.doc_start, positions, side="right") - 1

    def word(self, number: int) -> str:
        """Return a word as it stands in its document."""
        doc = int(self.word_doc[number])
        offset = int(self.doc_start[doc])
        start, end = int(self.word_start[number]), int(self.word_end[number])
        return self.texts[doc][start - offset : end - offset]

    def _running_sums(self) -> Hashes:
        """Return sums of hashed code points, each times a power that grows with its position."""
        powers, _ = _powers(_capacity(len(self.points)))
        terms = _table().hash_of.take(self.points, mode="clip")
        terms *= powers[: len(terms)]
        return np.cumsum(terms, out=terms)

    def _hash(self, start: Indices, end: Indices) -> Hashes:
        """Return the hashes of stretches: polynomials in the code points, then mixed.

        The inverse power takes a stretch back to where it would begin at position 0, so its hash
        depends on nothing around it.
        """
        _, inverses = _powers(_capacity(len(self.points)))
        return _mixed((self._sums[end - 1] - self._sums[start - 1]) * inverses[start])

    def _find_words(self) -> None:
        inside = self.where(Trait.WORD).copy()
        inner = np.flatnonzero(self.where(Trait.INNER))
        inside[inner[inside[inner - 1] & inside[inner + 1]]] = True
        self.word_start, self.word_end = _runs(inside)
        self.word_hash = self._hash(self.word_start, self.word_end)
        self.doc_words, self.word_doc = self._by_document(self.word_start)

    def _find_lines(self) -> None:
        ink_start, ink_end = _runs(~self.where(Trait.WHITE | Trait.SEPARATOR))
        breaks = np.flatnonzero(self.where(Trait.NEWLINE | Trait.SEPARATOR))
        # A line feed is white space, so no stretch of ink reaches over one.
        first = np.searchsorted(ink_start, breaks)
        kept = np.flatnonzero(first[:-1] < first[1:])
        self.line_start = ink_start[first[kept]]
        self.line_end = ink_end[first[kept + 1] - 1]
        self.line_hash = self._hash(self.line_start, self.line_end)
        self.doc_lines, self.line_doc = self._by_document(self.line_start)
        opens = np.ones(len(kept) + 1, dtype=np.bool_)
        opens[1:-1] = (np.diff(kept) > 1) | (np.diff(self.line_doc) > 0)
        self.paragraph_start = self.line_start[opens[:-1]]
        self.paragraph_end = self.line_end[opens[1:]]
        self.paragraph_hash = self._hash(self.paragraph_start, self.paragraph_end)
        self.doc_paragraphs, self.paragraph_doc = self._by_document(self.paragraph_start)

    def _by_document(self, start: Indices) -> tuple[Indices, Indices]:
        """Return offsets, shape ``(documents + 1,)``, and the document of each stretch."""
        offsets = np.searchsorted(start, np.append(self.doc_start, len(self.points)))
        return offsets, np.repeat(np.arange(self.documents), np.diff(offsets))


def groups(items: Iterable[T], text_of: Callable[[T], str]) -> Iterator[list[T]]:
    """Yield what holds a text in groups of the size that is measured fastest, in its order."""
    waiting: list[T] = []
    characters = 0
    for item in items:
        waiting.append(item)
        characters += len(text_of(item))
        if characters >= BATCH_CHARACTERS or len(waiting) >= BATCH_DOCUMENTS:
            yield waiting
            waiting, characters = [], 0
    if waiting:
        yield waiting


def batches(texts: Iterable[str]) -> Iterator[Batch]:
    """Yield the texts in batches, as :func:`groups` has them."""
    return map(Batch, groups(texts, str))


def measure(batch: Batch) -> dict[str, Signal]:
    """Return every signal of ``SIGNALS``, one value a document; shape ``(documents,)`` each.

    Counts are int64, shares float64; a share of nothing is 0. The limits that
    ``SIGNALS`` quotes are for comparison; none is applied here. Other than in datatrove's filters
    of the same names, blank lines count for nothing, words are in lower case and without
    punctuation, and whatever recurs counts in full where recurring words overlap.
    """
    found = _of_characters(batch) | _of_words(batch) | _of_lines(batch) | _of_grams(batch)
    return {name: found[name] for name in SIGNALS}


def script_letters(batch: Batch) -> Indices:
    """Count the letters of every script, shape ``(documents, len(SCRIPT_COLUMNS))``.

    Letters that belong to no script, such as µ and the modifier ʼ, are in no column.
    """
    columns = [batch.count(trait) for trait in _script_traits().values()]
    return np.stack(columns, axis=1)


def share_of(batch: Batch, hashes: Hashes) -> npt.NDArray[np.float64]:
    """Return the share of each document's words whose hash is among ``hashes``.

    ``Batch(["the", "of"]).word_hash`` turns a list of words into hashes.
    """
    hit, _ = _matches(batch, np.unique(hashes))
    counts = np.bincount(batch.word_doc[hit], minlength=batch.documents)
    return _share(counts, np.diff(batch.doc_words))


def distinct_of(batch: Batch, hashes: Hashes) -> Indices:
    """Return how many different ones of ``hashes`` occur in each document.

    Gopher (Rae et al. 2021, arXiv 2112.11446) wants at least two different stop words.
    """
    known = np.unique(hashes)
    hit, which = _matches(batch, known)
    pairs = np.unique(batch.word_doc[hit] * max(1, len(known)) + which)
    return np.bincount(pairs // max(1, len(known)), minlength=batch.documents)


def _matches(batch: Batch, known: Hashes) -> tuple[Indices, Indices]:
    """Return the words that are among ``known``, which is sorted, and their places in it."""
    # Most words are none of them, as a glance at 16 bits of the hash tells.
    likely = np.zeros(2**16, dtype=np.bool_)
    likely[known >> np.uint64(48)] = True
    words = np.flatnonzero(likely[batch.word_hash >> np.uint64(48)])
    places = np.searchsorted(known, batch.word_hash[words])
    places = np.minimum(places, len(known) - 1)
    hit = known[places] == batch.word_hash[words]
    return words[hit], places[hit]


def _of_characters(batch: Batch) -> dict[str, Signal]:
    characters = batch.doc_end - batch.doc_start
    letters = batch.count(Trait.LETTER)
    wide = (Trait.TWO_BYTES, Trait.THREE_BYTES, Trait.FOUR_BYTES)
    return {
        "characters": characters,
        "bytes": characters + np.sum([batch.count(trait) for trait in wide], axis=0),
        "letters": letters,
        "control": batch.count(Trait.CONTROL),
        "unassigned": batch.count(Trait.UNASSIGNED),
        "private_use": batch.count(Trait.PRIVATE),
        "replacement": batch.count(Trait.REPLACEMENT),
        "not_nfc": _not_nfc(batch),
        "mojibake": _mojibake(batch),
        "digit_share": _share(batch.count(Trait.DIGIT), characters),
        "upper_case_share": _share(batch.count(Trait.UPPER), letters),
        "punctuation_share": _share(batch.count(Trait.PUNCTUATION), characters),
        "white_space_share": _share(batch.count(Trait.WHITE), characters),
    }


def _not_nfc(batch: Batch) -> Indices:
    """Ask the standard library, but only of documents with a character that could matter."""
    result = np.zeros(batch.documents, dtype=np.int64)
    for number in np.flatnonzero(batch.count(Trait.COMPOSING)).tolist():
        result[number] = not unicodedata.is_normalized("NFC", batch.texts[number])
    return result


def _mojibake(batch: Batch) -> Indices:
    second = np.flatnonzero(batch.where(Trait.TRACE))
    traces = np.isin(_pair(batch.points[second - 1], batch.points[second]), _trace_pairs())
    return np.bincount(batch.doc_of(second[traces]), minlength=batch.documents)


def _of_words(batch: Batch) -> dict[str, Signal]:
    words = np.diff(batch.doc_words)
    lengths = batch.word_end - batch.word_start
    full = np.flatnonzero(words)
    longest = np.zeros(batch.documents, dtype=np.int64)
    if len(full):
        longest[full] = np.maximum.reduceat(lengths, batch.doc_words[full])
    return {
        "words": words,
        "longest_word": longest,
        "mean_word_length": _share(_sum(lengths, batch.word_doc, batch), words),
        "alphabetic_word_share": _share(words - _without_letter(batch), words),
        "mixed_script_words": _mixed_script_words(batch),
        "sentences": np.maximum(_sentences(batch), words > 0),
        "hash_signs_per_word": _share(batch.count(Trait.NUMBER_SIGN), words),
        "ellipses_per_word": _share(_ellipses(batch), words),
    }


def _without_letter(batch: Batch) -> Indices:
    letter = batch.where(Trait.LETTER)
    # Nearly all words begin with a letter; only the others are looked at in full.
    rest = np.flatnonzero(~letter[batch.word_start])
    if not len(rest):
        return np.zeros(batch.documents, dtype=np.int64)
    bounds = np.stack([batch.word_start[rest], batch.word_end[rest]], axis=1).ravel()
    bare = rest[~np.logical_or.reduceat(letter, bounds)[::2]]
    return np.bincount(batch.word_doc[bare], minlength=batch.documents)


def _mixed_script_words(batch: Batch) -> Indices:
    """Count words with neighbouring letters of two scripts: "IT-сектор" is none of them."""
    traits = _table().traits
    numbers = np.zeros(len(traits), dtype=np.uint8)
    for number, trait in enumerate(_script_traits().values(), start=1):
        numbers[(traits & trait) != 0] = number
    script = batch.by_class(numbers)
    left, right = script[:-1], script[1:]
    places = np.flatnonzero((left != right) & (left != 0) & (right != 0))
    words = np.unique(np.searchsorted(batch.word_start, places, side="right") - 1)
    return np.bincount(batch.word_doc[words], minlength=batch.documents)


def _sentences(batch: Batch) -> Indices:
    """Count signs that end a sentence; those of one script only in texts mostly of that script.

    A dot after an abbreviation counts too, and a last sentence without a sign does not.
    """
    places = np.flatnonzero(batch.where(Trait.SENTENCE))
    after = _table().traits[batch.classes[places + 1]]
    places = places[(after & (Trait.WHITE | Trait.SEPARATOR | Trait.CLOSING)) != 0]
    docs = batch.doc_of(places)
    scripts = script_letters(batch).argmax(axis=1)[docs]
    signs = batch.points[places]
    ends = np.ones(len(places), dtype=np.bool_)
    for sign, script in SENTENCE_ENDS_IN.items():
        ends &= (signs != ord(sign)) | (scripts == SCRIPT_COLUMNS.index(script))
    return np.bincount(docs[ends], minlength=batch.documents)


def _ellipses(batch: Batch) -> npt.NDArray[np.float64]:
    """Count the sign, and three dots for every three in a row."""
    start, end = _runs(batch.where(Trait.DOT))
    long = end - start >= 3
    start, end = start[long], end[long]
    return batch.count(Trait.ELLIPSIS) + _sum((end - start) // 3, batch.doc_of(start), batch)


def _of_lines(batch: Batch) -> dict[str, Signal]:
    characters = batch.doc_end - batch.doc_start
    newlines = batch.count(Trait.NEWLINE)
    lines, paragraphs = np.diff(batch.doc_lines), np.diff(batch.doc_paragraphs)
    first, last = batch.points[batch.line_start], batch.points[batch.line_end - 1]
    dots = np.stack([batch.points[batch.line_end - back] for back in (1, 2, 3)]) == ord(".")
    again = _later(batch.line_hash, batch.line_doc)
    again_characters = _sum(again * (batch.line_end - batch.line_start), batch.line_doc, batch)
    copies = _later(batch.paragraph_hash, batch.paragraph_doc)
    sizes = copies * (batch.paragraph_end - batch.paragraph_start)

    def share(mask: Mask) -> npt.NDArray[np.float64]:
        return _share(_sum(mask, batch.line_doc, batch), lines)

    return {
        "lines": lines,
        "paragraphs": paragraphs,
        "bullet_line_share": share(_among(first, BULLETS)),
        "ellipsis_line_share": share((last == ord("…")) | dots.all(axis=0)),
        "terminal_line_share": share(_among(last, LINE_ENDS)),
        "short_line_share": share(batch.line_end - batch.line_start <= SHORT_LINE),
        "newlines_per_word": _share(newlines, np.diff(batch.doc_words)),
        "duplicate_line_share": share(again),
        "duplicate_line_character_share": _share(again_characters, characters),
        "duplicate_character_share": _share(again_characters, characters - newlines),
        "duplicate_paragraph_share": _share(_sum(copies, batch.paragraph_doc, batch), paragraphs),
        "duplicate_paragraph_character_share": _share(
            _sum(sizes, batch.paragraph_doc, batch), characters
        ),
    }


def _of_grams(batch: Batch) -> dict[str, Signal]:
    """Find the words in a row that occur more than once in a document.

    N words recur only where both the first and the last n - 1 of them do, so the search narrows
    with every n; the first round, over all pairs of words, is most of the work. Characters are
    those of the words, for the most frequent words in a row also a space between two of them.
    """
    characters = batch.doc_end - batch.doc_start
    reach = np.append(0, np.cumsum(batch.word_end - batch.word_start))
    docs = np.append(batch.word_doc, -1)
    recurs = np.ones(len(docs), dtype=np.bool_)
    positions = np.arange(len(batch.word_hash))
    keys = _within(batch.word_hash, batch.word_doc)
    found: dict[str, Signal] = {}
    for n in range(2, max(DUPLICATE_GRAMS) + 1):
        last = np.minimum(positions + n - 1, len(batch.word_hash))
        kept = recurs[positions + 1] & (docs[last] == docs[positions])
        positions = positions[kept]
        keys = keys[kept] * GRAM_BASE + batch.word_hash[positions + n - 1]
        repeats = _repeats(keys)
        if n in TOP_GRAMS:
            top = _characters_of_top(repeats, positions, reach, n, batch)
            found[f"top_{n}_gram_share"] = np.minimum(_share(top, characters), 1.0)
        else:
            later = positions[repeats.later]
            until = np.minimum(later + n, np.append(later[1:], len(reach)))
            covered = _sum(reach[until] - reach[later], docs[later], batch)
            found[f"duplicate_{n}_gram_share"] = _share(covered, characters)
        positions, keys = positions[repeats.any], keys[repeats.any]
        recurs[:] = False
        recurs[positions] = True
    return found


@dataclass(frozen=True)
class _Repeats:
    """Which of some keys are equal to another one."""

    firsts: Indices
    """For each group of equal keys the first of them."""
    sizes: Indices
    """For each group how many keys it has, at least 2."""
    any: Mask
    """For each key whether it is in a group."""
    later: Mask
    """For each key whether it is in a group and not the first of it."""


def _repeats(keys: Hashes) -> _Repeats:
    """Group equal keys, which are well mixed in their upper bits; shape ``(keys,)``.

    Sorting values is many times faster than sorting indices by them. So the keys are sorted with
    their lowest bits replaced by their index, and only those that then look like a neighbour are
    compared in full.
    """
    shift = np.uint64(max(1, len(keys)).bit_length())
    packed = (keys >> shift << shift) | np.arange(len(keys), dtype=np.uint64)
    packed.sort()
    upper = packed >> shift
    alike = np.zeros(len(keys) + 1, dtype=np.bool_)
    alike[1:-1] = upper[1:] == upper[:-1]
    lower = (np.uint64(1) << shift) - np.uint64(1)
    candidates = (packed[alike[1:] | alike[:-1]] & lower).astype(np.int64)
    candidates = candidates[np.argsort(keys[candidates])]
    values = keys[candidates]
    edges = np.ones(len(candidates) + 1, dtype=np.bool_)
    edges[1:-1] = values[1:] != values[:-1]
    starts = np.flatnonzero(edges)
    sizes = np.diff(starts)
    several = sizes > 1
    members = candidates[np.repeat(several, sizes)]
    sizes = sizes[several]
    # reduceat refuses an empty list of starts.
    firsts = np.minimum.reduceat(members, np.cumsum(sizes) - sizes) if len(sizes) else members
    any_ = np.zeros(len(keys), dtype=np.bool_)
    any_[members] = True
    later = any_.copy()
    later[firsts] = False
    return _Repeats(firsts, sizes, any_, later)


def _characters_of_top(
    repeats: _Repeats, positions: Indices, reach: Indices, n: int, batch: Batch
) -> Indices:
    """Return the characters of each document's most frequent n words in a row, all times over.

    Of several equally frequent ones the one that begins first is taken.
    """
    first = positions[repeats.firsts]
    bits = 40
    best = np.zeros(batch.documents, dtype=np.int64)
    np.maximum.at(best, batch.word_doc[first], (repeats.sizes << bits) + (2**bits - 1 - first))
    times, begin = best >> bits, 2**bits - 1 - (best & (2**bits - 1))
    begin[times == 0] = 0
    ends = np.minimum(begin + n, len(reach) - 1)
    return np.asarray(times * (reach[ends] - reach[begin] + n - 1), dtype=np.int64)


def _later(hashes: Hashes, docs: Indices) -> Mask:
    """Return for each stretch whether an equal one stands before it in its document."""
    return _repeats(_within(hashes, docs)).later


def _within(hashes: Hashes, docs: Indices) -> Hashes:
    """Make equal hashes of different documents differ."""
    return hashes + docs.astype(np.uint64) * DOCUMENT_STEP


def _runs(mask: Mask) -> tuple[Indices, Indices]:
    """Return starts and ends of the stretches of true values; the first and last are false."""
    edges = np.flatnonzero(mask[1:] != mask[:-1]) + 1
    return edges[::2].copy(), edges[1::2].copy()


def _sum(values: Indices | Mask, docs: Indices, batch: Batch) -> npt.NDArray[np.float64]:
    """Add up values by the document to which each belongs."""
    return np.asarray(np.bincount(docs, values, batch.documents), dtype=np.float64)


def _share(part: Signal, whole: Indices) -> npt.NDArray[np.float64]:
    return part / np.maximum(whole, 1)


def _among(points: Points, signs: str) -> Mask:
    return np.isin(points, np.array([ord(sign) for sign in signs], dtype=np.uint32))


class Trait(enum.IntFlag):
    """What is asked of a code point."""

    SEPARATOR = enum.auto()
    WORD = enum.auto()
    INNER = enum.auto()
    LETTER = enum.auto()
    UPPER = enum.auto()
    DIGIT = enum.auto()
    WHITE = enum.auto()
    NEWLINE = enum.auto()
    PUNCTUATION = enum.auto()
    CONTROL = enum.auto()
    UNASSIGNED = enum.auto()
    PRIVATE = enum.auto()
    REPLACEMENT = enum.auto()
    DOT = enum.auto()
    ELLIPSIS = enum.auto()
    NUMBER_SIGN = enum.auto()
    SENTENCE = enum.auto()
    CLOSING = enum.auto()
    COMPOSING = enum.auto()
    TRACE = enum.auto()
    TWO_BYTES = enum.auto()
    THREE_BYTES = enum.auto()
    FOUR_BYTES = enum.auto()


def _patterns() -> dict[int, str]:
    """Return for every trait but the separator's the expression that finds its code points."""
    return {
        Trait.WORD: r"[\p{L}\p{M}\p{N}]",
        Trait.INNER: _one_of(INNER),
        Trait.LETTER: r"\p{L}",
        Trait.UPPER: r"\p{Lu}",
        Trait.DIGIT: r"\p{Nd}",
        Trait.WHITE: r"\p{White_Space}",
        Trait.NEWLINE: r"\n",
        Trait.PUNCTUATION: r"\p{P}",
        Trait.CONTROL: r"[\p{Cc}--[\n\r\t]]",
        Trait.UNASSIGNED: r"[\p{Cn}\p{Cs}]",
        Trait.PRIVATE: r"\p{Co}",
        Trait.REPLACEMENT: r"\uFFFD",
        Trait.DOT: r"\.",
        Trait.ELLIPSIS: r"…",
        Trait.NUMBER_SIGN: r"\#",
        Trait.SENTENCE: _one_of(SENTENCE_ENDS + "".join(SENTENCE_ENDS_IN)),
        Trait.CLOSING: _one_of(CLOSING),
        # A text without any of these is in Form C.
        Trait.COMPOSING: r"[\p{M}\p{NFC_Quick_Check=No}\p{NFC_Quick_Check=Maybe}]",
        Trait.TRACE: _one_of("".join({second for _, second in _traces()})),
        Trait.TWO_BYTES: r"[\x80-\U0010FFFF]",
        Trait.THREE_BYTES: r"[\u0800-\U0010FFFF]",
        Trait.FOUR_BYTES: r"[\U00010000-\U0010FFFF]",
        **_script_patterns(),
    }


@functools.cache
def _script_traits() -> dict[str, int]:
    """Return for every column of ``SCRIPT_COLUMNS`` a trait of its own."""
    return {column: max(Trait) << number for number, column in enumerate(SCRIPT_COLUMNS, 1)}


def _script_patterns() -> dict[int, str]:
    names = [*languages.SCRIPTS.values()]
    patterns = [rf"[\p{{Script={name}}}&&\p{{L}}]" for name in names]
    own = "".join(rf"\p{{Script={name}}}" for name in [*names, "Common", "Inherited"])
    return dict(zip(_script_traits().values(), [*patterns, rf"[\p{{L}}--[{own}]]"], strict=True))


def _one_of(signs: str) -> str:
    return "[" + "".join(f"\\U{ord(sign):08X}" for sign in signs) + "]"


def _traces() -> set[tuple[str, str]]:
    """Return pairs of characters that betray UTF-8 read in an encoding of one byte a character.

    In UTF-8 a European letter beyond ASCII is a first byte that belongs to its alphabet, C3 to C5
    for Latin, D0 and D1 for Cyrillic, and a second one from 80 to BF. In Latin-1 and Windows-1250
    to 1253 the first is a capital and the second often a sign that follows a capital in no text;
    seconds that might (letters, quotation marks, dashes, brackets, spaces, dots) are left out, but
    for pairs with Â, Ã, Ð and Ñ in Latin-1. The beginnings of longer sequences are added:
    typographic punctuation, Georgian, the replacement character, emoji. The idea is that of ftfy
    (Speer 2019), which goes further and repairs.
    """
    continuation = range(0x80, 0xC0)
    found = {(first, chr(byte)) for first in "ÂÃÐÑ" for byte in continuation}
    western = b"\xc2\xc3\xc4\xc5\xce\xcf\xd0\xd1\xd4\xd5\xd6"
    for encoding, leads in {
        "latin-1": western,
        "cp1250": b"\xc3\xc4\xc5",
        "cp1251": b"\xd0\xd1",
        "cp1252": western,
        "cp1253": b"\xce\xcf",
    }.items():
        for first in leads.decode(encoding):
            for byte in continuation:
                second = bytes([byte]).decode(encoding, "ignore") or chr(byte)
                if second == "µ" or (
                    unicodedata.category(second) in TRACE_CATEGORIES and second not in "…·΄"
                ):
                    found.add((first, second))
    return found | {(pair[0], pair[1]) for pair in ("â€", "â\x80", "áƒ", "á\x83", "ï¿", "ðŸ")}


@functools.cache
def _trace_pairs() -> npt.NDArray[np.uint64]:
    firsts, seconds = zip(*sorted(_traces()), strict=True)
    points = [
        np.array([ord(sign) for sign in signs], dtype=np.uint32) for signs in (firsts, seconds)
    ]
    return _pair(*points)


def _pair(first: Points, second: Points) -> npt.NDArray[np.uint64]:
    return (first.astype(np.uint64) << np.uint64(32)) | second


@dataclass(frozen=True)
class _Table:
    """What is known of every code point."""

    class_of: npt.NDArray[np.uint8]
    """Code points with the same traits share a class; shape ``(1114112,)``."""
    traits: Indices
    """For each class its traits."""
    separator: int
    """The class of the separator, which no code point has."""
    hash_of: Hashes
    """A number that looks random, the same for a letter's two cases; shape ``(1114112,)``."""


@functools.cache
def _table() -> _Table:
    """Build the table, once a process: 10 MB, in less than half a second."""
    every = "".join(map(chr, range(0x110000)))
    traits = np.zeros(len(every) + 1, dtype=np.int64)
    traits[-1] = Trait.SEPARATOR
    for trait, pattern in _patterns().items():
        for found in regex.finditer(f"{pattern}+", every, regex.V1):
            traits[found.start() : found.end()] |= trait
    different, class_of = np.unique(traits, return_inverse=True)
    assert len(different) <= 256
    lower = np.arange(len(every), dtype=np.uint64)
    for sign in regex.findall(r"\p{Changes_When_Lowercased}", every):
        # One code point for one; only İ has two in lower case, of which the first is kept.
        lower[ord(sign)] = ord(sign.lower()[0])
    # The sigma at the end of a word has the same capital as the other one.
    lower[ord("ς")] = ord("σ")
    return _Table(
        class_of=class_of[:-1].astype(np.uint8),
        traits=different,
        separator=int(class_of[-1]),
        hash_of=_mixed(lower + POINT_OFFSET),
    )


@functools.cache
def _powers(capacity: int) -> tuple[Hashes, Hashes]:
    """Return the base's powers from 0 up and their inverses modulo 2^64, ``(capacity,)`` each."""
    result = []
    for base in (POWER_BASE, pow(POWER_BASE, -1, 2**64)):
        factors = np.full(capacity, base, dtype=np.uint64)
        factors[0] = 1
        result.append(np.cumprod(factors))
    return result[0], result[1]


def _capacity(length: int) -> int:
    """Round up, so that batches of about the same size share their powers."""
    return 1 << max(10, (length - 1).bit_length())


def _mixed(values: Hashes) -> Hashes:
    """Spread every bit over all 64: the finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
