"""What is wrong with a document, by its measures: the filters of a recipe, and what they mend.

A filter is a question to the table that :mod:`workbench.survey` makes, one row a document, and is
answered for all rows at once. The first filter of the recipe's list that objects gives the reason.
What is dropped is kept aside with that reason; what stays may be mended: composed to Form C,
look-alike letters of another script put right, personal data replaced by its kind.
"""

import functools
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import regex

from workbench import duplicates, identify, languages, personal, signals
from workbench.sections import FILTERS, Clean

Column = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Table = Mapping[str, Column]

# A detector of short texts guesses; its word counts from so many letters and this probability on.
SURE_LETTERS, SURE_PROBABILITY = 100, 0.8
OWN_SCRIPT_SHARE = 0.5
ODD = ("control", "unassigned", "private_use", "replacement", "mojibake")
# Signals that tell prose from menus, lists and broken text, with the lowest and the highest value
# that Gopher (Rae et al. 2021, arXiv 2112.11446, table A1), and for short lines FineWeb (Penedo
# et al. 2024, arXiv 2406.17557), allow in any language.
LIMITS: dict[str, tuple[float, float]] = {
    "mean_word_length": (3, 10),
    "alphabetic_word_share": (0.8, np.inf),
    "hash_signs_per_word": (-np.inf, 0.1),
    "ellipses_per_word": (-np.inf, 0.1),
    "bullet_line_share": (-np.inf, 0.9),
    "ellipsis_line_share": (-np.inf, 0.3),
    "short_line_share": (-np.inf, 0.67),
}
# Of the same table of Gopher, alike for all languages.
REPETITION = {
    "duplicate_line_share": 0.3,
    "duplicate_paragraph_share": 0.3,
    "duplicate_line_character_share": 0.2,
    "duplicate_paragraph_character_share": 0.2,
    **{f"top_{n}_gram_share": limit for n, limit in signals.TOP_GRAMS.items()},
    **{f"duplicate_{n}_gram_share": limit for n, limit in signals.DUPLICATE_GRAMS.items()},
}
# Shares of a text of a few words say nothing: two equal words are half of it.
PROSE_WORDS = 50
# Gopher wants so many different stop words.
FREQUENT_WORDS = 2
# What the filters look at.
COLUMNS = (
    *("lang", "detected", "detected_probability", "characters", "words", "letters"),
    *("own_script_share", "frequent_words", "contaminated"),
    *(*ODD, *LIMITS, *REPETITION, *personal.KINDS),
)


@dataclass(frozen=True)
class Range:
    """Where the documents of one language may lie on one signal."""

    signal: str
    low: float
    high: float


def usual(signal: str, values: Column, quantile: float) -> Range:
    """Return the wider one of a language's own range and of ``LIMITS``.

    Thresholds that were set for English throw out good text of languages with longer words or
    other punctuation; so they are held against the language's own documents, as FineWeb-2 does
    (Penedo et al. 2025, arXiv 2506.20920). What is normal in a language is never out, however far
    from English it is, and what is normal in English is not out because it is rare.

    Args:
        signal: one of ``LIMITS``.
        values: the signal of the language's documents, shape ``(documents,)``, at least one.
        quantile: on each side fewer than this share of the documents can be out.
    """
    low, high = LIMITS[signal]
    own_low, below_high = (
        float(np.quantile(side, quantile, method="inverted_cdf")) for side in (values, -values)
    )
    return Range(signal, min(low, own_low), max(high, -below_high))


def objections(
    table: Table, clean: Clean, limits: Mapping[str, Sequence[Range]]
) -> dict[str, Mask]:
    """Return which documents each of the recipe's filters objects to, by their own measures.

    Duplicates are not among them: those take all documents together, see :func:`reasons`.

    Args:
        table: the columns of the survey, each of shape ``(documents,)``.
        clean: the recipe's filters, with their settings.
        limits: language to the ranges of its signals, for ``quality``.
    """
    with_settings: dict[str, Callable[[], Mask]] = {
        "length": lambda: (table["words"] < clean.min_words) | (table["words"] > clean.max_words),
        "characters": lambda: odd_share(table) > clean.odd_characters,
        "quality": lambda: _outside(table, limits),
    }
    return {
        name: with_settings[name]() if name in with_settings else FLAGS[name](table)
        for name in clean.filters
        if name in with_settings or name in FLAGS
    }


def reasons(
    filters: Sequence[str], objects: Mapping[str, Mask], text: Column, cluster: Column
) -> npt.NDArray[np.int8]:
    """Return why each document is dropped: its filter's place in ``FILTERS``, -1 where it stays.

    Of duplicates the first document stays that the filters before let pass.

    Args:
        filters: in the recipe's order.
        objects: of :func:`objections`, over all documents, each ``(documents,)``.
        text: equal numbers for equal texts.
        cluster: equal numbers for near-duplicates.
    """
    found = np.full(len(text), -1, dtype=np.int8)
    for name in filters:
        left = np.flatnonzero(found < 0)
        if name in objects:
            out = objects[name][left]
        else:
            alike = {"exact-duplicate": text, "near-duplicate": cluster}[name][left]
            out = duplicates.exact(alike) != np.arange(len(left))
        found[left[out]] = FILTERS.index(name)
    return found


def odd_share(table: Table) -> npt.NDArray[np.float64]:
    """Return the share of a document's characters that no text should have."""
    odd = np.sum([np.asarray(table[name], dtype=np.float64) for name in ODD], axis=0)
    return np.asarray(odd / np.maximum(1, table["characters"]))


def _outside(table: Table, limits: Mapping[str, Sequence[Range]]) -> Mask:
    """Out of the range of its language, or long and without two of its frequent words."""
    outside = (table["frequent_words"] < FREQUENT_WORDS) & (table["words"] >= PROSE_WORDS)
    for tag, own in limits.items():
        rows = np.flatnonzero(table["lang"] == tag)
        for limit in own:
            values = table[limit.signal][rows]
            outside[rows[(values < limit.low) | (values > limit.high)]] = True
    return np.asarray(outside, dtype=np.bool_)


def _other_language(table: Table) -> Mask:
    """Declared one language, surely another: look-alikes and unknown languages excepted."""
    sure = (table["letters"] >= SURE_LETTERS) & (table["detected_probability"] >= SURE_PROBABILITY)
    disagree = np.zeros(len(sure), dtype=np.bool_)
    pairs = np.char.add(np.char.add(_text(table["lang"]), "|"), _text(table["detected"]))
    for pair in np.unique(pairs[sure]):
        declared, detected = pair.split("|")
        if detected and declared not in identify.unknown_to_detector():
            disagree |= (pairs == pair) & (not identify.agrees(declared, detected))
    return np.asarray(sure & disagree, dtype=np.bool_)


def _text(column: Column) -> npt.NDArray[np.str_]:
    return np.asarray(column, dtype=np.str_)


def _other_script(table: Table) -> Mask:
    return np.asarray(
        (table["own_script_share"] < OWN_SCRIPT_SHARE) & (table["letters"] > 0), dtype=np.bool_
    )


def _repeats(table: Table) -> Mask:
    over = [table[name] > limit for name, limit in REPETITION.items()]
    return np.asarray(np.any(over, axis=0) & (table["words"] >= PROSE_WORDS), dtype=np.bool_)


def _personal(table: Table) -> Mask:
    return np.asarray(np.any([table[kind] > 0 for kind in personal.KINDS], axis=0), dtype=np.bool_)


def _contaminated(table: Table) -> Mask:
    return np.asarray(table["contaminated"] > 0, dtype=np.bool_)


# The filters that need nothing but a document's own measures; the survey flags samples by them.
FLAGS: dict[str, Callable[[Table], Mask]] = {
    "language": _other_language,
    "script": _other_script,
    "repetition": _repeats,
    "personal-data": _personal,
    "contamination": _contaminated,
}


def in_words(clean: Clean, dropped: Mapping[str, int]) -> list[str]:
    """Say what a recipe did to its documents, for people who read of the result.

    Args:
        clean: the recipe's choice.
        dropped: how many documents each filter dropped.
    """
    counts = ", ".join(f"{name} {dropped[name]:,}" for name in clean.filters)
    said = [f"Documents dropped by filter, in this order: {counts}."]
    if clean.repair:
        said.append(
            "What was kept is in Unicode Normalization Form C; look-alike letters of another "
            "script within words were put right."
        )
    if clean.mask:
        said.append(
            "E-mail addresses, telephone, IP, bank and card numbers were replaced by their kind."
        )
    return said


def mend(text: str, tag: str, clean: Clean, mixed: bool, private: bool) -> str:
    """Return ``text`` as it is kept: repaired and masked as the recipe says.

    Args:
        text: the document.
        tag: its language.
        clean: the recipe's choice.
        mixed: whether words of two scripts were counted in it.
        private: whether personal data were.
    """
    if clean.repair:
        composed = unicodedata.normalize("NFC", text)
        text = repair(composed, tag) if mixed else composed
    return personal.mask(text) if clean.mask and private else text


def repair(text: str, tag: str) -> str:
    """Put look-alike letters right in words of a text's own script.

    A word is mended only if at least half of its letters are of its language's script, and every
    other one looks like a letter of the language: ``jeдном`` with a Latin ``je`` becomes
    ``једном`` in Serbian; a Latin name in a Cyrillic text, ``IT-сектор``, an abbreviation with
    an ending, ``ITшник``, and ``Δx`` stay as they are.

    Args:
        text: in Form C, and so is what is returned.
        tag: its language.
    """
    alike = _look_alikes(tag)
    own, foreign = _letters(languages.get(tag).script)

    def mended(match: "regex.Match[str]") -> str:
        word = str(match[0])
        if not foreign.search(word):
            return word
        # Apart from their marks, so that é is a look-alike where e is one.
        letters = unicodedata.normalize("NFD", word)
        others, ours = foreign.findall(letters), own.findall(letters)
        abbreviation = sum(map(str.isupper, others)) > 1 and any(map(str.islower, ours))
        if len(ours) < len(others) or not alike.keys() >= set(others):
            return word
        if abbreviation or set(ours) <= SYMBOLS:
            return word
        return unicodedata.normalize("NFC", "".join(alike.get(one, one) for one in letters))

    return str(_WORD.sub(mended, text)) if alike else text


def mixed_words(text: str, script: str) -> list[str]:
    """Return the words of ``text`` that hold letters of ``script`` and of another one."""
    own, foreign = _letters(script)
    words: list[str] = _WORD.findall(text)
    return [word for word in words if foreign.search(word) and own.search(word)]


_WORD = regex.compile(r"[\p{L}\p{M}]++")
# Letters that look alike in most type faces, Latin before the other script; a selection of
# Unicode's confusables (Technical Standard 39) among the letters of the registry's languages.
_LATIN_LIKE = {
    "Cyrl": ("AaBCcEeHIiJjKMOoPpSsTXxYy", "АаВСсЕеНІіЈјКМОоРрЅѕТХхУу"),
    "Grek": ("ABEZHIKMNOoPTYXvu", "ΑΒΕΖΗΙΚΜΝΟοΡΤΥΧνυ"),
}
# Letters that only some languages of their script have.
_ONLY_IN = {
    "Іі": ("ukr_Cyrl",),
    "Јј": ("mkd_Cyrl", "srp_Cyrl"),
    "Ѕѕ": ("mkd_Cyrl",),
}
# A Latin letter beside one of these is a unit or a formula: ΔH, μA, MΩ.
SYMBOLS = frozenset("ΔμΩ")


@functools.cache
def _look_alikes(tag: str) -> dict[str, str]:
    """Return letters of other scripts with the letter of the language that they look like."""
    script = languages.get(tag).script
    if script == "Latn":
        # Greek nu and upsilon are not so much like v and u that they could be slips.
        return {
            own: latin
            for pair in _LATIN_LIKE.values()
            for latin, own in zip(*pair, strict=True)
            if own not in "νυ"
        }
    missing = {letter for pair, tags in _ONLY_IN.items() if tag not in tags for letter in pair}
    pairs = zip(*_LATIN_LIKE.get(script, ("", "")), strict=True)
    return {latin: own for latin, own in pairs if own not in missing}


@functools.cache
def _letters(script: str) -> tuple["regex.Pattern[str]", "regex.Pattern[str]"]:
    """Return patterns of a letter of ``script``, and of one that is of another script."""
    name = languages.SCRIPTS[script]
    return (
        regex.compile(rf"[\p{{L}}&&\p{{Script={name}}}]", regex.V1),
        regex.compile(rf"[\p{{L}}--[\p{{Script={name}}}\p{{Common}}]]", regex.V1),
    )
