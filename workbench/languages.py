"""The registry: every official and future EU language, and where the hub has data for it.

The table itself is ``languages.tsv`` beside this file, so that it can be read and corrected
without reading code. A language is identified by its tag, ISO 639-3 code and ISO 15924 script
joined by an underscore (``mlt_Latn``), as in FLORES+, FineWeb-2 and HPLT.
"""

import csv
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import UserError, nearest

STATUSES = ("official", "candidate", "co-official", "associated", "regional")
DATA_SETS = {
    "fineweb2": "FineWeb-2",
    "hplt": "HPLT",
    "flores": "FLORES+",
    "wikipedia": "Wikipedia",
    "belebele": "Belebele",
    "multiblimp": "MultiBLiMP",
    "global_mmlu": "Global-MMLU",
}
NO_DATA = "no data"
# ISO 15924 numbers scripts and gives them codes; only the ones that the registry uses are named.
SCRIPTS = {
    "Latn": "Latin",
    "Cyrl": "Cyrillic",
    "Grek": "Greek",
    "Geor": "Georgian",
    "Armn": "Armenian",
}


@dataclass(frozen=True)
class Language:
    """One language in one script."""

    tag: str
    """ISO 639-3 and ISO 15924: ``mlt_Latn``."""
    name: str
    """English name."""
    own_name: str
    """What its speakers call it."""
    family: str
    status: str
    """One of ``STATUSES``."""
    countries: tuple[str, ...]
    """ISO 3166-1 alpha-2 codes of the European states in which it has official standing."""
    bcp47: str
    """Shortest BCP-47 tag: ``mt``, ``sr-Cyrl``."""
    codes: dict[str, str]
    """Data set (a key of ``DATA_SETS``) to the code used there. A missing key means no data."""
    aliases: tuple[str, ...]
    """Other codes and names in use: macro-languages, withdrawn codes, bibliographic codes."""

    @property
    def script(self) -> str:
        """ISO 15924 code of the script: ``Latn``."""
        return self.tag.split("_")[1]

    @property
    def iso639_3(self) -> str:
        """ISO 639-3 code: ``mlt``."""
        return self.tag.split("_")[0]

    def code_in(self, data_set: str) -> str:
        """Return the language's code in ``data_set``, or ``"no data"``.

        Raises:
            UserError: ``data_set`` is not a key of ``DATA_SETS``.
        """
        if data_set not in DATA_SETS:
            raise UserError(
                f"unknown data set {data_set!r} in the language registry"
                f"{nearest(data_set, DATA_SETS)}; it knows {', '.join(DATA_SETS)}"
            )
        return self.codes.get(data_set, NO_DATA)

    def to_dict(self) -> dict[str, object]:
        """Return the language as plain JSON values, with ``"no data"`` spelled out."""
        return {
            "tag": self.tag,
            "name": self.name,
            "own_name": self.own_name,
            "family": self.family,
            "script": self.script,
            "status": self.status,
            "countries": list(self.countries),
            "bcp47": self.bcp47,
            "codes": {data_set: self.code_in(data_set) for data_set in DATA_SETS},
            "aliases": list(self.aliases),
        }


@functools.cache
def all_languages() -> tuple[Language, ...]:
    """Return every language of the registry in its own order: official languages first."""
    table = Path(__file__).with_name("languages.tsv")
    with table.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    return tuple(
        Language(
            tag=row["tag"],
            name=row["name"],
            own_name=row["own_name"],
            family=row["family"],
            status=row["status"],
            countries=_split(row["countries"]),
            bcp47=row["bcp47"],
            codes={data_set: row[data_set] for data_set in DATA_SETS if row[data_set] != "-"},
            aliases=_split(row["aliases"]),
        )
        for row in rows
    )


def tags() -> tuple[str, ...]:
    """Return the tags of all languages, in the registry's order."""
    return tuple(language.tag for language in all_languages())


def get(word: str) -> Language:
    """Look a language up by any code or name: ``mt``, ``mlt``, ``mlt_Latn``, ``Malti``.

    Case, and the choice of ``-`` or ``_``, do not matter. Tags and names are looked for before
    codes of single data sets, so that ``no data`` in one of them never shadows a language.

    Raises:
        UserError: nothing is called so; the message names the nearest.
    """
    index = _index()
    found = index.get(_key(str(word)))
    if found is None:
        known = [name for language in all_languages() for name in _spellings(language)]
        raise UserError(
            f"unknown language {str(word)!r}{nearest(str(word), known)}; "
            "'workbench languages' lists them all"
        )
    return found


def select(words: Iterable[str]) -> tuple[Language, ...]:
    """Resolve a recipe's list of languages: codes, names, a status, or ``all``.

    The result is in the registry's order without repetition, whatever the order asked for.

    Raises:
        UserError: a word names no language and no status, or the list is empty.
    """
    chosen: set[str] = set()
    for word in words:
        if word == "all":
            chosen.update(tags())
        elif word in STATUSES:
            chosen.update(entry.tag for entry in all_languages() if entry.status == word)
        else:
            chosen.add(get(word).tag)
    if not chosen:
        raise UserError("no language was chosen; name some, or 'all'")
    return tuple(language for language in all_languages() if language.tag in chosen)


def coverage(chosen: Sequence[Language] | None = None) -> dict[str, list[str]]:
    """Return, for every data set, the tags of the languages for which it has no data."""
    considered = all_languages() if chosen is None else chosen
    return {
        data_set: [entry.tag for entry in considered if data_set not in entry.codes]
        for data_set in DATA_SETS
    }


def _split(cell: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in cell.split(",") if part.strip() not in ("", "-"))


def _key(word: str) -> str:
    return word.strip().lower().replace("_", "-")


def _spellings(language: Language) -> list[str]:
    """Return every word that may name ``language``, the most specific first."""
    return [
        language.tag,
        language.name,
        language.own_name,
        language.bcp47,
        *language.aliases,
        language.iso639_3,
        *language.codes.values(),
    ]


@functools.cache
def _index() -> dict[str, Language]:
    """Map every spelling to its language; where two share one, the more specific spelling wins."""
    index: dict[str, Language] = {}
    ranked = [
        (rank, language, word)
        for language in all_languages()
        for rank, word in enumerate(_spellings(language))
    ]
    for _, language, word in sorted(ranked, key=lambda item: item[0]):
        index.setdefault(_key(word), language)
    return index
