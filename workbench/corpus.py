"""One way to read documents, wherever they lie.

Every source is a stream: memory stays flat however large it is. What cannot be read is told by
file, line and reason, counted, and written to a quarantine file; the good documents go on.
"""

import abc
import glob
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workbench import disk, languages, passages, rows
from workbench import run as runs
from workbench.errors import UserError, nearest
from workbench.languages import Language
from workbench.rows import Faults as Faults
from workbench.sections import DOCUMENT_FIELDS, Data

SPLITS = ("train", "validation", "test")
# Parquet is read in pieces of about so many bytes, whole row groups each.
PIECE_BYTES = 64 * 2**20
# Files smaller than this share a piece, so that thousands of them are not thousands of pieces.
SMALL_BYTES = 2**18
# Where an inspection leaves the documents that it keeps.
CLEANED = "cleaned"


@dataclass(frozen=True, slots=True)
class Document:
    """A text with where it came from."""

    id: str
    text: str
    lang: str
    """A language tag of the registry."""
    source: str
    licence: str = ""
    url: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class HubDataSet:
    """How a known hub data set names its configurations and columns."""

    config: str
    """``{fineweb2}`` and the like stand for the language's code in that data set."""
    columns: dict[str, str]
    licence: str


# From the data sets' cards; a code that the registry does not have means that there is no data.
HUB_DATA_SETS = {
    "HuggingFaceFW/fineweb-2": HubDataSet(
        "{fineweb2}", {"id": "id", "text": "text", "url": "url"}, "ODC-By-1.0"
    ),
    "HPLT/HPLT2.0_cleaned": HubDataSet("{hplt}", {"id": "id", "text": "text"}, "CC0-1.0"),
    "HPLT/HPLT3.0": HubDataSet("{hplt}", {"id": "id", "text": "text", "url": "u"}, "CC0-1.0"),
    "HuggingFaceFW/finepdfs": HubDataSet(
        "{fineweb2}", {"id": "id", "text": "text", "url": "url"}, "ODC-By-1.0"
    ),
    "HuggingFaceFW/finewiki": HubDataSet(
        "{wikipedia}", {"id": "id", "text": "text", "url": "url"}, "CC-BY-SA-4.0"
    ),
    "wikimedia/wikipedia": HubDataSet(
        "20231101.{wikipedia}", {"id": "id", "text": "text", "url": "url"}, "CC-BY-SA-4.0"
    ),
}
# Names under which our fields are often found; a recipe's ``columns`` come first.
USUAL_COLUMNS = {
    "id": ("id", "doc_id", "uuid"),
    "text": ("text", "content", "document"),
    "lang": ("lang", "language"),
    "script": ("script", "language_script"),
    "source": ("source",),
    "licence": ("licence", "license"),
    "url": ("url", "u"),
}


def split_of(document_id: str, data: Data) -> str:
    """Return ``train``, ``validation`` or ``test`` by a hash of the id alone.

    The same id falls into the same split on every machine, in every order and in every language,
    so that aligned passages are held out together.
    """
    digest = hashlib.blake2b(document_id.encode(), digest_size=8).digest()
    point = int.from_bytes(digest, "big") / 2**64
    if point < data.test:
        return "test"
    return "validation" if point < data.test + data.validation else "train"


def read(data: Data, faults: Faults) -> Iterator[Document]:
    """Yield the documents of ``data`` in the languages that it chooses, source by source.

    Args:
        data: sources, languages, and the names of columns.
        faults: takes up every document that cannot be read.

    Raises:
        UserError: a source is missing, or nothing can tell which language it holds.
    """
    yield from read_from(resolve(data), data, faults)


def read_from(sources: Iterable["Source"], data: Data, faults: Faults) -> Iterator[Document]:
    """Like :func:`read`, from sources that are known already: some of a recipe's units of work."""
    chosen = {language.tag: language for language in languages.select(data.languages)}
    taken: Counter[str] = Counter()
    for source in sources:
        for document in source.documents(chosen, data, faults):
            if document.lang not in chosen:
                continue
            if data.bytes_per_language:
                if taken[document.lang] >= data.bytes_per_language:
                    continue
                taken[document.lang] += len(document.text.encode())
            yield document


def resolve(data: Data) -> list["Source"]:
    """Turn the recipe's words for sources into sources, each known to exist.

    Raises:
        UserError: a file, folder or glob matches nothing, or has a format that is not read.
    """
    found: list[Source] = []
    for word in data.sources:
        if word == "starter":
            found.append(StarterSource())
        elif word.startswith("hub:"):
            found.append(HubSource.parse(word))
        elif word.startswith("inspect/") and word.count("/") == 1:
            found.extend(_cleaned(word))
        else:
            found.extend(_on_disk(word))
    return found


def units(data: Data) -> list[list["Source"]]:
    """Return the pieces of ``data`` that can be read on their own, in the order of :func:`read`.

    A file is a piece, a large Parquet file is several, small files are one together. Where a
    recipe takes only the first bytes of a language there is a single piece, because each would
    have to know what the ones before it gave.

    Raises:
        UserError: as in :func:`resolve`; a hub data set has none of the chosen languages.
    """
    sources = resolve(data)
    if data.bytes_per_language:
        return [sources]
    found: list[list[Source]] = []
    room = 0
    for source in sources:
        for piece in source.pieces(data):
            known = piece.bytes if isinstance(piece, FileSource) else None
            size = SMALL_BYTES if known is None else known
            if found and size <= room:
                found[-1].append(piece)
            else:
                found.append([piece])
                room = SMALL_BYTES
            room -= size
    return found


def _cleaned(word: str) -> list["Source"]:
    """Return what an inspection kept, as files of documents."""
    folder = runs.find_finished(word).path / CLEANED
    if not folder.is_dir():
        raise UserError(f"source {word!r} cleaned nothing: its recipe names no clean.filters")
    return [FileSource(file, of=word) for file in sorted(folder.glob("*.jsonl.zst"))]


def _on_disk(word: str) -> Sequence["Source"]:
    path = _path(word)
    if path.is_dir():
        return [HubSource(name=str(path), shown=word, local=True)]
    return files(word)


def files(word: str) -> list["FileSource"]:
    """Return the files that a path or a glob names, relative to the project's folder.

    Raises:
        UserError: it matches no file, or one of a format that is not read.
    """
    path = _path(word)
    if path.is_dir():
        raise UserError(f"{word!r} is a folder; name its files, such as {word}/**/*.parquet")
    found = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
    found = [file for file in found if file.is_file()]
    if not found:
        siblings = [entry.name for entry in path.parent.glob("*")] if path.parent.is_dir() else []
        raise UserError(
            f"source {word!r}: no such file{nearest(path.name, siblings)} (looked in {path.parent})"
        )
    for file in found:
        _refuse_if_unread(str(file), word)
    return [FileSource(file) for file in found]


def _refuse_if_unread(file: str, word: str) -> None:
    if rows.format_of(file) not in rows.FORMATS:
        raise UserError(
            f"source {word!r}: {Path(file).name} is none of the formats that are read: "
            f"{', '.join(rows.FORMATS)}, also with {' or '.join(rows.COMPRESSIONS)}"
        )


def _path(word: str) -> Path:
    path = Path(word).expanduser()
    return path if path.is_absolute() else runs.home() / path


def all_texts(source: "FileSource") -> Iterator[str]:
    """Yield every text in a file that holds something other than documents: an evaluation set.

    Questions, answers and passages, in whatever fields and however deep, all count.

    Raises:
        UserError: a line cannot be read; what is looked for must be complete.
    """
    faults = Faults()
    for _, row, _ in source.rows(faults):
        yield from _texts_in(row)
    if faults.total:
        raise UserError(f"{faults.first[0]}; an evaluation set has to be readable as a whole")


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for below in value.values():
            yield from _texts_in(below)
    elif isinstance(value, list):
        for below in value:
            yield from _texts_in(below)


class Source(abc.ABC):
    """A stream of documents that can say what it was."""

    @abc.abstractmethod
    def documents(
        self, chosen: dict[str, Language], data: Data, faults: Faults
    ) -> Iterator[Document]:
        """Yield documents; a language outside ``chosen`` may be left out early."""

    @abc.abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return what the record states: files with SHA-256 and size, or the hub's revision."""

    def pieces(self, data: Data) -> Sequence["Source"]:
        """Return parts that can be read on their own and give together what the whole gives."""
        return [self]


class StarterSource(Source):
    """The corpus in the package: one document a passage, its id the same in every language."""

    def documents(
        self, chosen: dict[str, Language], data: Data, faults: Faults
    ) -> Iterator[Document]:
        about = passages.index()["passages"]
        for tag in chosen:
            for name, sentences in passages.read(tag).items():
                meta = {"sentences": len(sentences), **about[name]}
                yield Document(
                    name, " ".join(sentences), tag, "starter", passages.LICENCE, "", meta
                )

    def describe(self) -> dict[str, Any]:
        combined = hashlib.sha256()
        for file in passages.files():
            combined.update(file.read_bytes())
        return {
            "source": "starter",
            "licence": passages.LICENCE,
            "origin": "synthetic",
            "sha256": combined.hexdigest(),
        }


@dataclass
class FileSource(Source):
    """One file of JSON Lines, Parquet, CSV or plain text, compressed or not."""

    path: Path | str
    """Where it lies; the address of a remote file is not a path."""
    of: str = ""
    """What the record calls the source: an inspection that wrote it; the file where it is empty."""
    row_groups: range | None = None
    """Of Parquet: which row groups to read; all where it is None."""
    lang: str = ""
    """The tag of its language, where the data set says it."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Our field to its column; the recipe's come first."""
    licence: str = ""
    shown: str = ""
    """How records and faults call the file; settled here, as a worker may live elsewhere."""

    def __post_init__(self) -> None:
        self.shown = self.shown or (_shown(self.path) if isinstance(self.path, Path) else self.path)

    @property
    def bytes(self) -> int | None:
        """Size on disk; None where it is remote."""
        return self.path.stat().st_size if isinstance(self.path, Path) else None

    def pieces(self, data: Data) -> Sequence[Source]:
        parquet = rows.format_of(self.path) == ".parquet"
        if self.bytes is None or self.bytes <= PIECE_BYTES or not parquet:
            return [self]
        # 27 MB of memory, which a training on plain text never needs.
        import pyarrow.parquet

        try:
            metadata = pyarrow.parquet.read_metadata(self.path)
        except (pyarrow.ArrowException, OSError):
            return [self]  # reading it states the fault
        cuts, taken = [0], 0
        for number in range(metadata.num_row_groups):
            taken += metadata.row_group(number).total_byte_size
            if taken >= PIECE_BYTES or number == metadata.num_row_groups - 1:
                cuts.append(number + 1)
                taken = 0
        return [
            replace(self, row_groups=range(start, end)) for start, end in itertools.pairwise(cuts)
        ]

    def describe(self) -> dict[str, Any]:
        path = Path(self.path)
        entry = {"path": self.shown, "sha256": disk.sha256(path), "bytes": self.bytes}
        return {"source": self.of or self.shown, "files": [entry]}

    def documents(
        self, chosen: dict[str, Language], data: Data, faults: Faults
    ) -> Iterator[Document]:
        make = _Maker(self, data, chosen, faults)
        for line, row, raw in self.rows(faults):
            document = make(line, row, raw)
            if document is not None:
                yield document

    def rows(self, faults: Faults) -> Iterator[rows.Row]:
        """Yield line, fields and raw bytes of everything that can be read, document or not."""
        return rows.read(self.path, faults, self.shown, self.row_groups)


@dataclass
class HubSource(Source):
    """A hub data set, or a local folder laid out as one, read file by file.

    Which configurations it has, and which files hold them, is told by ``datasets``.
    """

    name: str
    shown: str
    revision: str | None = None
    local: bool = False

    @classmethod
    def parse(cls, word: str) -> "HubSource":
        """Read ``hub:owner/name@revision``.

        Raises:
            UserError: it is not of that form.
        """
        name, _, revision = word.removeprefix("hub:").partition("@")
        if name.count("/") != 1:
            raise UserError(f"source {word!r} is not of the form hub:owner/name@revision")
        return cls(name, word, revision or None)

    def describe(self) -> dict[str, Any]:
        if not self.local:
            return {"source": self.shown, "revision": self._resolved_revision()}
        found = [file for file in sorted(Path(self.name).rglob("*")) if file.is_file()]
        return {
            "source": self.shown,
            "files": [
                {"path": _shown(file), "sha256": disk.sha256(file), "bytes": file.stat().st_size}
                for file in found
            ],
        }

    def _resolved_revision(self) -> str:
        import huggingface_hub

        try:
            info = huggingface_hub.HfApi().dataset_info(self.name, revision=self.revision)
        except Exception as fault:  # the client raises its own, httpx's and OS errors
            raise self._unreachable(fault) from None
        return str(info.sha)

    def _unreachable(self, fault: Exception) -> UserError:
        return UserError(
            f"source {self.shown!r} cannot be reached: {rows.first_line(fault)}; check the name "
            "and the network, or download it and give its folder instead"
        )

    def pieces(self, data: Data) -> Sequence[Source]:
        chosen = languages.select(data.languages)
        return [
            piece
            for own in self._files(chosen, data).values()
            for file in own
            for piece in file.pieces(data)
        ]

    def documents(
        self, chosen: dict[str, Language], data: Data, faults: Faults
    ) -> Iterator[Document]:
        for own in self._files(list(chosen.values()), data).values():
            taken = 0
            for document in itertools.chain.from_iterable(
                file.documents(chosen, data, faults) for file in own
            ):
                yield document
                taken += len(document.text.encode())
                if data.bytes_per_language and taken >= data.bytes_per_language:
                    break  # without reading, or downloading, the rest

    def _files(self, chosen: Sequence[Language], data: Data) -> dict[str, list[FileSource]]:
        """Return the files of every chosen language that the data set has.

        Raises:
            UserError: it has none of them, cannot be reached, or its files are of another format.
        """
        known = HUB_DATA_SETS.get(self.name)
        available = self._configs()
        found = {}
        for language in chosen:
            config = self._config_of(language, known, available, data)
            if config is not None:
                found[language.tag] = [
                    FileSource(
                        Path(address) if self.local else address,
                        lang=language.tag,
                        columns=known.columns if known else {},
                        licence=known.licence if known else "",
                    )
                    for address in self._addresses(config)
                ]
        if not found:
            raise UserError(
                f"source {self.shown!r} has no configuration for the chosen languages; it has "
                f"{', '.join(available[:8])}{' ...' if len(available) > 8 else ''}; map them with "
                "data.configs"
            )
        return found

    def _configs(self) -> list[str]:
        import datasets

        try:
            return list(datasets.get_dataset_config_names(self.name, revision=self.revision))
        except Exception as fault:  # as above, and the builder's own
            raise self._unreachable(fault) from None

    def _addresses(self, config: str) -> list[str]:
        """Return where the files of a configuration's ``train`` split are."""
        import datasets

        try:
            builder = datasets.load_dataset_builder(self.name, config, revision=self.revision)
        except Exception as fault:  # as above
            raise self._unreachable(fault) from None
        splits: dict[str, list[str]] = dict(builder.config.data_files or {})
        if "train" not in splits:
            held = ", ".join(splits) or "none"
            raise UserError(f"source {self.shown!r}: {config} has no split 'train'; it has {held}")
        for address in splits["train"]:
            _refuse_if_unread(address, self.shown)
        return list(splits["train"])

    def _config_of(
        self, language: Language, known: HubDataSet | None, available: list[str], data: Data
    ) -> str | None:
        """Return the configuration that holds ``language``, if there is one."""
        for word, config in data.configs.items():
            if languages.get(word) == language:
                return config
        if known:
            codes = {key: language.codes.get(key, "") for key in languages.DATA_SETS}
            config = known.config.format(**codes)
            return config if config in available else None
        if available == ["default"] and data.language:
            return "default" if languages.get(data.language) == language else None
        for config in available:
            try:
                if languages.get(config) == language:
                    return config
            except UserError:
                continue
        return None


class _Maker:
    """Turns a source's rows into documents, and says why it cannot."""

    def __init__(
        self, source: FileSource, data: Data, chosen: dict[str, Language], faults: Faults
    ) -> None:
        self._shown = source.shown
        self._faults = faults
        self._columns = {**source.columns, **data.columns}
        self._licence = source.licence or data.licence
        self._lang = source.lang or (languages.get(data.language).tag if data.language else "")
        self._from_name = "" if self._lang else _language_in_name(self._shown)
        self._tags: dict[str, str] = {}

    def __call__(self, line: int, row: dict[str, Any], raw: bytes) -> Document | None:
        """Return the document in ``row``, or ``None`` after stating the fault."""
        try:
            text = self._field(row, "text")
            if text is None:
                raise UserError(f"no field {self._columns.get('text', 'text')!r}")
            if not isinstance(text, str):
                raise UserError(f"text is {type(text).__name__}, not a string")
            if not text.strip():
                raise UserError("empty text")
            if not _encodes(text):
                raise UserError("unpaired surrogate in text")
            lang = self._language(row)
        except UserError as fault:
            kept = raw or json.dumps(row, ensure_ascii=False, default=str)
            self._faults.add(self._shown, line, str(fault), kept)
            return None
        identity = self._field(row, "id")
        used = {self._columns.get(name, name) for name in DOCUMENT_FIELDS}
        return Document(
            id=str(identity) if identity not in (None, "") else f"{self._shown}:{line}",
            text=text,
            lang=lang,
            source=str(self._field(row, "source") or self._shown),
            licence=str(self._field(row, "licence") or self._licence),
            url=str(self._field(row, "url") or ""),
            meta={key: value for key, value in row.items() if key not in used},
        )

    def _field(self, row: dict[str, Any], name: str) -> Any:
        if name in self._columns:
            return row.get(self._columns[name])
        return next((row[key] for key in USUAL_COLUMNS[name] if row.get(key) is not None), None)

    def _language(self, row: dict[str, Any]) -> str:
        if self._lang:
            return self._lang
        word = self._field(row, "lang")
        if word is None:
            if not self._from_name:
                raise UserError("no language: say it in data.language or in the file's name")
            return self._from_name
        script = self._field(row, "script")
        key = f"{word}|{script}"
        if key not in self._tags:
            self._tags[key] = _tag_of(str(word), str(script) if script else "")
        return self._tags[key]


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _tag_of(word: str, script: str) -> str:
    """Return the tag of a language given with or without its script (``sr`` and ``Latn``)."""
    if script:
        try:
            return languages.get(f"{word}-{script}").tag
        except UserError:
            code = languages.get(word).iso639_3
            tag = f"{code}_{script}"
            if tag in languages.tags():
                return tag
    try:
        return languages.get(word).tag
    except UserError:
        raise UserError(f"unknown language {word!r}") from None


def _language_in_name(shown: str) -> str:
    """Return the language that a file's or folder's name says: ``mono/mt.jsonl.gz``, or none."""
    path = Path(shown)
    for word in (path.name.split(".")[0], path.parent.name):
        try:
            return languages.get(word).tag
        except UserError:
            continue
    return ""


def _shown(path: Path) -> str:
    """Return how a file is called in records: relative to the project, where that is short."""
    for base, prefix in ((runs.home(), ""), (runs.home().parent, "../")):
        if path.is_relative_to(base):
            return prefix + path.relative_to(base).as_posix()
    return str(path)


def describe(sources: Iterable[Source]) -> list[dict[str, Any]]:
    """Return what the record says of ``sources``."""
    return [source.describe() for source in sources]
