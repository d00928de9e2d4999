"""Data sets described for machines: Croissant metadata of folders of JSON Lines.

Croissant is schema.org's ``Dataset`` with checksums of the files and the fields of the records in
them (MLCommons, "Croissant Format Specification", version 1.1, 2025); its vocabulary for
responsible AI says how data came about and what is wrong with it ("Croissant RAI Specification",
version 1.0, 2024). The result is plain JSON-LD. Nothing in it is guessed: what a caller does not
state is left out.

Paths are relative to the folder, so the metadata belongs into the folder's root. MLCommons' own
library reads plain and gzip JSON Lines by it; files compressed with Zstandard it can check and
not read.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench import disk, passages
from workbench import languages as registry
from workbench.errors import UserError, nearest

FILE = "croissant.json"
CONFORMS_TO = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
TERMS = (
    "annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty",
    "excludes", "extract", "field", "fileObject", "fileProperty", "fileSet", "format",
    "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path",
    "readLines", "recordSet", "references", "regex", "repeated", "replace", "samplingRate",
    "sdVersion", "separator", "source", "subField", "transform", "unArchive",
)  # fmt: skip
# The recommended context of the specification's appendix, with schema.org by https as in MLCommons'
# library, and the terms of version 1.0 that the library still looks for.
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in TERMS},
}
# schema.org's word, from the IPTC's list, for what a trained model made.
SYNTHETIC = {"@id": "sc:TrainedAlgorithmicMediaDigitalSource"}
RESPONSIBLE_AI = (
    "annotationsPerItem", "annotatorDemographics", "dataAnnotationAnalysis",
    "dataAnnotationPlatform", "dataAnnotationProtocol", "dataBiases", "dataCollection",
    "dataCollectionMissingData", "dataCollectionRawData", "dataCollectionTimeframe",
    "dataCollectionType", "dataImputationProtocol", "dataLimitations",
    "dataManipulationProtocol", "dataPreprocessingProtocol", "dataReleaseMaintenancePlan",
    "dataSocialImpact", "dataUseCases", "machineAnnotationTools", "personalSensitiveInformation",
)  # fmt: skip
# Media types by the endings of a file's name, as MLCommons' library spells them.
MEDIA_TYPES = {
    ".jsonl": "application/jsonlines",
    ".json": "application/json",
    ".gz": "application/gzip",
    ".zst": "application/zstd",
}
CREATIVE_COMMONS = re.compile(r"cc[ -](by(?:-nc)?(?:-sa|-nd)?)[ -](\d\.\d)")
PUBLIC_DOMAIN = re.compile(r"cc0(?:[ -]1\.0)?")
OTHER_LICENCES = ("Apache-2.0", "MIT", "NLOD-2.0", "ODC-By-1.0", "PDDL-1.0")


@dataclass(frozen=True)
class Column:
    """One field of the records: text, or a list of texts."""

    name: str
    description: str
    many: bool = False
    """The field is a list."""
    in_file_name: str = ""
    """A regular expression with one group: the value stands in the file's name, not in the row."""
    one_of: str = ""
    """The values are those of the choice with this name."""


@dataclass(frozen=True)
class Records:
    """Rows of one kind, and the files that hold them."""

    name: str
    description: str
    files: tuple[str, ...]
    """Paths or globs below the folder, each of which has to match a file.

    MLCommons' library lets a star cross folders: name the folder, ``documents/*.jsonl``.
    """
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    """The columns that together identify a row, where any do."""


@dataclass(frozen=True)
class Choice:
    """A short list of values with what each of them means; it is written into the metadata."""

    name: str
    description: str
    values: Mapping[str, str]


def describe(
    folder: Path,
    *,
    name: str,
    description: str,
    licences: Sequence[str],
    files: Sequence[str],
    record_sets: Sequence[Records | Choice],
    languages: Sequence[str],
    url: str = "./",
    creator: str = "",
    version: str = "",
    published: str = "",
    cite_as: str = "",
    keywords: Sequence[str] = (),
    synthetic: bool = False,
    responsible_ai: Mapping[str, str | Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Return the Croissant metadata of the files below ``folder``; every file is read once.

    Args:
        folder: where the metadata will lie.
        name: the data set's name.
        description: a few sentences, in English.
        licences: SPDX identifiers or what the sources call them.
        files: paths or globs below the folder, of files that hold no records.
        record_sets: the files with records and what is in them, and lists of values.
        languages: codes or names of languages.
        url: the data set's page, absolute or from the folder; the folder itself if not given.
        creator: the organisation that made it.
        version: as in Semantic Versioning.
        published: an ISO 8601 date.
        cite_as: a citation, best as BibTeX.
        keywords: what it may be looked for by.
        synthetic: a model made all of it.
        responsible_ai: terms of the RAI vocabulary to what is to be said under them.

    Raises:
        UserError: a path matches nothing, or a language or a term of the vocabulary is unknown.
    """
    with_records = [one for one in record_sets if isinstance(one, Records)]
    found = _matches(folder, [*files, *(glob for one in with_records for glob in one.files)])
    chosen = registry.select(languages)
    about = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": description,
        "conformsTo": list(CONFORMS_TO),
        "license": list(dict.fromkeys(licence_url(licence) for licence in licences)),
        "url": url,
        "creator": {"@type": "sc:Organization", "name": creator} if creator else None,
        "version": version,
        "datePublished": published,
        "citeAs": cite_as,
        "keywords": list(keywords),
        "inLanguage": [language.bcp47 for language in chosen],
        "isLiveDataset": False,
        "digitalSourceType": SYNTHETIC if synthetic else None,
        **_responsible(responsible_ai or {}),
        "distribution": [
            *(_file_object(folder, file) for file in found),
            *(_file_set(folder, one) for one in with_records),
        ],
        "recordSet": [
            _choice(one) if isinstance(one, Choice) else _records(one) for one in record_sets
        ],
    }
    return {term: value for term, value in about.items() if value not in ("", None, [])}


def of_documents(
    folder: Path,
    name: str,
    description: str,
    licences: Sequence[str],
    files: Sequence[str],
    languages: Sequence[str],
    **stated: Any,
) -> dict[str, Any]:
    """Return the metadata of documents as ``corpus`` reads them: one file or more a language.

    Args:
        folder: where the metadata will lie.
        name: the data set's name.
        description: a few sentences, in English.
        licences: SPDX identifiers or what the sources call them.
        files: paths or globs below the folder, of JSON Lines with the fields ``id``, ``text``,
            ``lang``, ``source``, ``licence`` and ``url``.
        languages: codes or names of languages.
        **stated: what else :func:`describe` takes.

    Raises:
        UserError: as in :func:`describe`.
    """
    # No choice of languages to refer to: MLCommons' library streams records that refer to nothing
    # and holds all others in memory at once.
    columns = (
        Column("id", "the document's name in its source"),
        Column("text", "the text itself"),
        Column("lang", "ISO 639-3 and ISO 15924, as in mlt_Latn"),
        Column("source", "where the document was read"),
        Column("licence", "the licence of this document"),
        Column("url", "the page it is from, where one is known"),
    )
    return describe(
        folder,
        name=name,
        description=description,
        licences=licences,
        files=(),
        record_sets=[Records("documents", "One record a document.", tuple(files), columns)],
        languages=languages,
        **stated,
    )


STARTER: dict[str, str | Sequence[str]] = {
    "dataCollection": (
        "Synthetic. A language model wrote every sentence for this data set: in English first, "
        "then in each language from the meaning. Passages and prompts were read a second time by "
        "another hand in every language, and the pairs, written with that reading, by a third; all "
        "three hands are language models. Nothing was collected or taken from elsewhere."
    ),
    "dataCollectionType": ["Others: written by a language model"],
    "dataCollectionRawData": "None: there is no source text.",
    "dataAnnotationProtocol": (
        "Only the pairs are labelled. Their writer chose the rule from a closed list of phenomena "
        "and wrote a sentence that keeps it and one that breaks it; a second reader replaced what "
        "was debatable, not minimal or filed under the wrong rule."
    ),
    "annotationsPerItem": "0 human labels; two readings by language models.",
    "machineAnnotationTools": ["language models"],
    "dataBiases": [
        "One careful standard register in every language, close to English sentence rhythm, since "
        "the passages were written in English first.",
        "Everyday European life; four invented names carry many passages.",
        "The pairs show the rules that a language model thinks of, as a textbook would put them.",
    ],
    "dataUseCases": [
        "Teaching and testing.",
        "Comparing tokenizers and models on equal content.",
        "Evaluating grammar with the minimal pairs.",
    ],
    "dataSocialImpact": (
        "Small languages stand beside large ones with the same content. Text written by a machine "
        "spreads a machine's habits: it should stay a small share of what a model is trained on."
    ),
    "personalSensitiveInformation": ["None: persons, addresses and companies are invented."],
    "dataReleaseMaintenancePlan": (
        "Corrections come with releases of the package; a change of the text raises the version."
    ),
}
LIMITS = (
    "No native speaker has read the text yet.",
    "Not for measuring a language's literature or its dialects, nor how a model does on natural "
    "text.",
    "Too small to train a useful model on.",
)


def starter() -> dict[str, Any]:
    """Return the metadata of the starter corpus as it lies in the package."""
    index = passages.index()
    tags = registry.tags()
    sentences = sum(map(len, passages.read("eng_Latn").values()))
    pairs = sum(len(passages.pairs(tag)) for tag in tags)
    language = Column(
        "language",
        "ISO 639-3 and ISO 15924, as in mlt_Latn",
        in_file_name="^([a-z]{3}_[A-Z][a-z]{3})",
        one_of="languages",
    )
    return describe(
        passages.FOLDER,
        name="workbench-starter",
        description=(
            f"Synthetic parallel text in {len(tags)} languages, every official and future EU "
            f"language among them: {len(index['passages'])} passages ({sentences} sentences) and "
            f"{len(index['prompts'])} prompts, the same in every language and aligned by id, and "
            f"{pairs:,} minimal pairs, each language's own, for evaluation only."
        ),
        licences=(passages.LICENCE,),
        files=("index.json",),
        record_sets=(
            _languages(tags),
            Choice("phenomena", "What a minimal pair may test.", index["phenomena"]),
            Records(
                "passages",
                "Passages, aligned by id and sentence by sentence.",
                ("passages/*.jsonl",),
                (
                    Column("id", "the same in every language"),
                    Column("sentences", "in the order of the text", many=True),
                    language,
                ),
                ("language", "id"),
            ),
            Records(
                "prompts",
                "Beginnings for a model to go on from, aligned by id. Not for training.",
                ("prompts/*.jsonl",),
                (
                    Column("id", "the same in every language"),
                    Column("text", "breaks off where the model goes on"),
                    language,
                ),
                ("language", "id"),
            ),
            Records(
                "pairs",
                "Minimal pairs: of two sentences one breaks one rule of grammar. Not for training.",
                ("pairs/*.jsonl",),
                (
                    Column("id", "a number within the language"),
                    Column("phenomenon", "the rule at stake", one_of="phenomena"),
                    Column("good", "breaks no rule"),
                    Column("bad", "breaks one rule"),
                    language,
                ),
                ("language", "id"),
            ),
        ),
        languages=tags,
        url="README.md",
        creator="The contributors of workbench-europe",
        version=passages.VERSION,
        published=passages.PUBLISHED,
        cite_as=(
            "@misc{workbench-starter, title = {The starter corpus of workbench-europe: synthetic "
            f"parallel text and minimal pairs in {len(tags)} languages}}, "
            "author = {{The contributors of workbench-europe}}, "
            f"year = {{{passages.PUBLISHED[:4]}}}, note = {{Version {passages.VERSION}}}}}"
        ),
        keywords=("parallel text", "minimal pairs", "synthetic text", "European languages"),
        synthetic=True,
        responsible_ai=STARTER | {"dataLimitations": [*LIMITS, *_weaknesses(index["weaknesses"])]},
    )


def licence_url(licence: str) -> str:
    """Return the page of a licence, or the words themselves where none is known for them.

    ``CC0-1.0``, ``CC BY-SA 4.0`` and the SPDX identifiers in ``OTHER_LICENCES`` are known; a
    licence with a remark after it, ``CC BY 4.0 (a ministry)``, stays as it is.
    """
    word = licence.strip().lower()
    if PUBLIC_DOMAIN.fullmatch(word):
        return "https://creativecommons.org/publicdomain/zero/1.0/"
    if match := CREATIVE_COMMONS.fullmatch(word):
        return f"https://creativecommons.org/licenses/{match[1]}/{match[2]}/"
    for known in OTHER_LICENCES:
        if word == known.lower():
            return f"https://spdx.org/licenses/{known}.html"
    return licence


def _matches(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the files that the patterns match, each once, in the order of their paths."""
    found: set[Path] = set()
    for pattern in patterns:
        files = [file for file in folder.glob(pattern) if file.is_file()]
        if not files:
            names = [file.relative_to(folder).as_posix() for file in folder.rglob("*")]
            raise UserError(f"{folder} has no file {pattern!r}{nearest(pattern, names)}")
        found.update(files)
    return sorted(found)


def _file_object(folder: Path, file: Path) -> dict[str, Any]:
    path = file.relative_to(folder).as_posix()
    written = {
        "@type": "cr:FileObject",
        "@id": path,
        "name": file.name,
        "contentUrl": path,
        "contentSize": f"{file.stat().st_size} B",
        "encodingFormat": _media_types([file]),
        "sha256": disk.sha256(file),
    }
    tag = file.name.split(".")[0]
    if tag in registry.tags():
        written["inLanguage"] = registry.get(tag).bcp47
    return written


def _file_set(folder: Path, records: Records) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"{records.name}-files",
        "name": f"{records.name}-files",
        "encodingFormat": _media_types(_matches(folder, records.files)),
        "includes": list(records.files),
    }


def _media_types(files: Sequence[Path]) -> list[str]:
    endings = {ending.lower() for file in files for ending in file.suffixes}
    known = [media_type for ending, media_type in MEDIA_TYPES.items() if ending in endings]
    return known or ["application/octet-stream"]


def _records(records: Records) -> dict[str, Any]:
    written = {
        "@type": "cr:RecordSet",
        "@id": records.name,
        "name": records.name,
        "description": records.description,
        "key": [{"@id": f"{records.name}/{column}"} for column in records.key],
        "field": [_field(records.name, column) for column in records.columns],
    }
    return {term: value for term, value in written.items() if value != []}


def _field(of: str, column: Column) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": f"{of}-files"}}
    if column.in_file_name:
        source["extract"] = {"fileProperty": "filename"}
        source["transform"] = {"regex": column.in_file_name}
    else:
        source["extract"] = {"column": column.name}
    written: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{of}/{column.name}",
        "name": column.name,
        "description": column.description,
        "dataType": "sc:Text",
        "source": source,
    }
    if column.many:
        written |= {"isArray": True, "arrayShape": "-1"}
    if column.one_of:
        written["references"] = {"field": {"@id": f"{column.one_of}/name"}}
    return written


def _choice(choice: Choice) -> dict[str, Any]:
    name, meaning = f"{choice.name}/name", f"{choice.name}/description"
    return {
        "@type": "cr:RecordSet",
        "@id": choice.name,
        "name": choice.name,
        "description": choice.description,
        "dataType": "sc:Enumeration",
        "key": {"@id": name},
        "field": [
            {"@type": "cr:Field", "@id": field, "name": field.split("/")[1], "dataType": "sc:Text"}
            for field in (name, meaning)
        ],
        "data": [{name: value, meaning: words} for value, words in choice.values.items()],
    }


def _languages(words: Sequence[str]) -> Choice:
    values = {one.tag: f"{one.name}, {one.bcp47}" for one in registry.select(words)}
    return Choice("languages", "English name and BCP-47 tag of each language.", values)


def _weaknesses(by_tag: Mapping[str, str]) -> list[str]:
    return [f"{registry.get(tag).name}: {words.rstrip('.')}." for tag, words in by_tag.items()]


def _responsible(said: Mapping[str, str | Sequence[str]]) -> dict[str, Any]:
    for term in said:
        if term not in RESPONSIBLE_AI:
            raise UserError(
                f"Croissant's RAI vocabulary has no term {term!r}{nearest(term, RESPONSIBLE_AI)}"
            )
    return {
        f"rai:{term}": words if isinstance(words, str) else list(words)
        for term, words in said.items()
    }
