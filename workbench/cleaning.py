"""What is wrong with a document, by its measures: the filters of a recipe, and what they mend.

A filter is a question to the table that :mod:`workbench.survey` makes, one row a document, and is
answered for all rows at once. The first filter of the recipe's list that objects gives the reason.
What is dropped is kept aside with that reason; what stays may be mended: composed to Form C,
look-alike letters of another script put right, personal data replaced by its kind.
"""

import functools
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import regex

from workbench import identify, languages, personal, signals
from workbench.recipe import FILTERS, Clean

Column = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Table = Mapping[str, Column]

# A detector of short texts guesses; its word counts from so many letters and this probability on.
SURE_LETTERS, SURE_PROBABILITY = 100, 0.8
OWN_SCRIPT_SHARE = 0.5
ODD = ("control", "unassigned", "private_use", "replacement", "mojibake")
# Signals whose usual range differs between languages (FineWeb-2, arXiv 2506.20920), and on which
# side a document lies wrong.
BY_LANGUAGE: dict[str, str] = {
    "mean_word_length": "both",
    "alphabetic_word_share": "low",
    "frequent_word_share": "low",
    "hash_signs_per_word": "high",
    "ellipses_per_word": "high",
    "bullet_line_share": "high",
    "ellipsis_line_share": "high",
    "digit_share": "high",
    "upper_case_share": "high",
    "punctuation_share": "high",
    "short_line_share": "high",
}
# The limits of Gopher (Rae et al. 2021, arXiv 2112.11446, table A1), alike for all languages.
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


@dataclass(frozen=True)
class Range:
    """Where a language's own documents lie."""

    signal: str
    low: float
    high: float


def ranges(table: Table, quantile: float) -> list[Range]:
    """Return, for one language, the range of each signal that all but ``quantile`` lie within.

    Args:
        table: the signals of the language's documents, at least one, each ``(documents,)``.
        quantile: on each side that can be wrong.
    """
    found = []
    for name, side in BY_LANGUAGE.items():
        values = table[name]
        low, high = np.quantile(values, [quantile, 1 - quantile])
        found.append(
            Range(
                name,
                -np.inf if side == "high" else float(low),
                np.inf if side == "low" else float(high),
            )
        )
    return found


def reasons(
    table: Table,
    clean: Clean,
    limits: Mapping[str, list[Range]],
    exact: Mask,
    near: Mask,
) -> npt.NDArray[np.int8]:
    """Return why each document is dropped: its filter's place in ``FILTERS``, -1 where it stays.

    Args:
        table: the columns of the survey, each of shape ``(documents,)``.
        clean: the recipe's filters, in order, with their settings.
        limits: language to the ranges of its signals, for ``quality``.
        exact: which documents repeat an earlier one.
        near: which resemble an earlier one.
    """
    found = np.full(len(exact), -1, dtype=np.int8)
    for name in clean.filters:
        match name:
            case "length":
                objects = (table["words"] < clean.min_words) | (table["words"] > clean.max_words)
            case "characters":
                objects = odd_share(table) > clean.odd_characters
            case "quality":
                objects = _outside(table, limits)
            case "exact-duplicate":
                objects = exact
            case "near-duplicate":
                objects = near
            case _:
                objects = FLAGS[name](table)
        found[(found < 0) & objects] = FILTERS.index(name)
    return found


def odd_share(table: Table) -> npt.NDArray[np.float64]:
    """Return the share of a document's characters that no text should have."""
    odd = np.sum([np.asarray(table[name], dtype=np.float64) for name in ODD], axis=0)
    return np.asarray(odd / np.maximum(1, table["characters"]))


def _outside(table: Table, limits: Mapping[str, list[Range]]) -> Mask:
    """Out of the usual range of its language, or long and without two of its frequent words."""
    outside = (table["frequent_words"] < FREQUENT_WORDS) & (table["words"] >= PROSE_WORDS)
    for tag, own in limits.items():
        rows = np.flatnonzero(table["lang"] == tag)
        for limit in own:
            values = np.asarray(table[limit.signal][rows], dtype=np.float64)
            outside[rows[(values < limit.low) | (values > limit.high)]] = True
    return outside


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


def _repeats(table: Table) -> Mask:
    over = [table[name] > limit for name, limit in REPETITION.items()]
    return np.asarray(np.any(over, axis=0) & (table["words"] >= PROSE_WORDS), dtype=np.bool_)


def _personal(table: Table) -> Mask:
    return np.asarray(np.any([table[kind] > 0 for kind in personal.KINDS], axis=0), dtype=np.bool_)


# The filters that need nothing but a document's own measures; the survey flags samples by them.
FLAGS: dict[str, Callable[[Table], Mask]] = {
    "language": _other_language,
    "script": lambda table: np.asarray(
        (table["own_script_share"] < OWN_SCRIPT_SHARE) & (table["letters"] > 0), dtype=np.bool_
    ),
    "repetition": _repeats,
    "personal-data": _personal,
    "contamination": lambda table: np.asarray(table["contaminated"] > 0, dtype=np.bool_),
}


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
        text = repair(composed, languages.get(tag).script) if mixed else composed
    return personal.mask(text) if clean.mask and private else text


def repair(text: str, script: str) -> str:
    """Put look-alike letters right in words of the text's own script.

    A word is mended only if it holds a letter of its own script, and every foreign letter in it
    looks like one of that script: ``jeдном`` with a Latin ``je`` becomes ``једном``; a Latin name
    in a Cyrillic text stays as it is.

    Args:
        text: in Form C.
        script: ISO 15924 code of the script it should be in.
    """
    looks = _look_alikes(script)
    if not looks:
        return text
    pattern, own, foreign = _mixed_words(script)

    def mended(match: "regex.Match[str]") -> str:
        word = match[0]
        if own.search(word) and all(letter in looks for letter in foreign.findall(word)):
            word = word.translate({ord(letter): alike for letter, alike in looks.items()})
        return str(word)

    return str(pattern.sub(mended, text))


def mixed_words(text: str, script: str) -> list[str]:
    """Return the words of ``text`` that hold letters of ``script`` and of another one."""
    return [match[0] for match in _mixed_words(script)[0].finditer(text)]


# Letters that look alike in most type faces, Latin to the other script; a selection of Unicode's
# confusables (Technical Standard 39) among the letters of the registry's languages.
_LATIN_LIKE = {
    "Cyrl": dict(
        zip(
            "AaBCcEeHIiJjKMOoPpSsTXxYyÄäËëÏïÖöÜü",
            "АаВСсЕеНІіЈјКМОоРрЅѕТХхУуӒӓЁёЇїӦӧӰӱ",
            strict=True,
        )
    ),
    "Grek": dict(zip("ABEZHIKMNOoPTYXvu", "ΑΒΕΖΗΙΚΜΝΟοΡΤΥΧνυ", strict=True)),
}


@functools.cache
def _look_alikes(script: str) -> dict[str, str]:
    """Return foreign letters with the letter of ``script`` that they look like."""
    if script in _LATIN_LIKE:
        return _LATIN_LIKE[script]
    if script == "Latn":
        return {
            own: latin
            for table in _LATIN_LIKE.values()
            for latin, own in table.items()
            if own not in "νυ"
        }
    return {}


@functools.cache
def _mixed_words(script: str) -> tuple["regex.Pattern[str]", ...]:
    """Return patterns of a word with letters of two scripts, of own and of foreign letters."""
    name = languages.SCRIPTS[script]
    letter = r"[\p{L}\p{M}]"
    own, foreign = rf"\p{{Script={name}}}", rf"[\p{{L}}--[\p{{Script={name}}}\p{{Common}}]]"
    mixed = rf"{letter}*(?:{own}{letter}*{foreign}|{foreign}{letter}*{own}){letter}*"
    return tuple(regex.compile(pattern, regex.V1) for pattern in (mixed, own, foreign))
