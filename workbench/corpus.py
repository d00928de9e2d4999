"""One way to read documents, wherever they lie.

Every source is a stream: memory stays flat however large it is. What cannot be read is told by
file, line and reason, counted, and written to a quarantine file; the good documents go on.
"""

import abc
import csv
import dataclasses
import glob
import gzip
import hashlib
import io
import itertools
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pyarrow
import pyarrow.parquet
import zstandard

from workbench import languages, passages
from workbench import run as runs
from workbench.errors import UserError, nearest
from workbench.languages import Language
from workbench.recipe import DOCUMENT_FIELDS, Data

SPLITS = ("train", "validation", "test")
FORMATS = (".jsonl", ".parquet", ".csv", ".txt")
COMPRESSIONS = (".gz", ".zst")
SHOWN_FAULTS = 5
MAX_LINE_BYTES = 64 * 2**20
# Parquet is read in pieces of about so many bytes, whole row groups each.
PIECE_BYTES = 64 * 2**20
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


class Faults:
    """What could not be read: counted by reason, kept in full in a quarantine file."""

    def __init__(self, quarantine: Path | None = None) -> None:
        self.by_reason: Counter[str] = Counter()
        self.first: list[str] = []
        self._quarantine = quarantine
        self._out: IO[str] | None = None

    @property
    def total(self) -> int:
        """How many faults there were."""
        return self.by_reason.total()

    def add(self, file: str, line: int | str, reason: str, raw: bytes | str = "") -> None:
        """Count one fault and set the offending line aside, nothing of it lost."""
        self.by_reason[reason] += 1
        if len(self.first) < SHOWN_FAULTS:
            self.first.append(f"{file}:{line}: {reason}")
        if self._quarantine is None:
            return
        if self._out is None:
            self._out = self._quarantine.open("w", encoding="utf-8")
        text = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw
        row = {"file": file, "line": line, "reason": reason, "raw": text}
        with runs.told_when_full(self._quarantine):
            self._out.write(json.dumps(row, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Finish the quarantine file."""
        if self._out is not None and self._quarantine is not None:
            with runs.told_when_full(self._quarantine):
                self._out.close()
            self._out = None

    def summary(self) -> dict[str, Any]:
        """Return the counts, and the first few faults in words."""
        return {"total": self.total, "by_reason": dict(self.by_reason), "first": self.first}


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

    A file is a piece, large Parquet files are several, a hub data set is one for each language.
    Where a recipe takes only the first bytes of a language there is a single piece, because each
    piece would have to know what the ones before it gave.
    """
    sources = resolve(data)
    if data.bytes_per_language:
        return [list(sources)]
    chosen = languages.select(data.languages)
    return [[piece] for source in sources for piece in source.pieces(chosen)]


def _cleaned(word: str) -> list["Source"]:
    """Return what an inspection kept, as files of documents."""
    folder = runs.find_finished(word).path / CLEANED
    if not folder.is_dir():
        raise UserError(f"source {word!r} cleaned nothing: its recipe names no clean.filters")
    return [FileSource(file) for file in sorted(folder.glob("*.jsonl.zst"))]


def _on_disk(word: str) -> list["Source"]:
    path = Path(word).expanduser()
    path = path if path.is_absolute() else runs.home() / path
    if path.is_dir():
        return [HubSource(name=str(path), shown=word, local=True)]
    matches = sorted(glob.glob(str(path), recursive=True))
    if not matches:
        siblings = [entry.name for entry in path.parent.glob("*")] if path.parent.is_dir() else []
        raise UserError(
            f"source {word!r}: no such file{nearest(path.name, siblings)} (looked in {path.parent})"
        )
    files = [Path(match) for match in matches if Path(match).is_file()]
    for file in files:
        if _format(file) not in FORMATS:
            raise UserError(
                f"source {word!r}: {file.name} is none of the formats that are read: "
                f"{', '.join(FORMATS)}, also with {' or '.join(COMPRESSIONS)}"
            )
    return [FileSource(file) for file in files]


def all_texts(word: str) -> Iterator[str]:
    """Yield every text in files that hold something other than documents: evaluation sets.

    Args:
        word: a file or a glob. Questions, answers and passages, in whatever fields, all count.

    Raises:
        UserError: it matches nothing, or is not a file.
    """
    for source in _on_disk(word):
        if not isinstance(source, FileSource):
            raise UserError(f"{word!r} is a folder; name its files, such as {word}/**/*.parquet")
        for _, row, _ in source.rows(Faults()):
            yield from _texts_in(row)


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

    def pieces(self, chosen: Sequence[Language]) -> Sequence["Source"]:
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


class FileSource(Source):
    """One file of JSON Lines, Parquet, CSV or plain text, compressed or not."""

    def __init__(self, path: Path, row_groups: range | None = None) -> None:
        self.path = path
        self.shown = _shown(path)
        self._row_groups = row_groups
        """Of Parquet: which row groups to read; all where it is None."""

    def pieces(self, chosen: Sequence[Language]) -> Sequence[Source]:
        if _format(self.path) != ".parquet" or self.path.stat().st_size <= PIECE_BYTES:
            return [self]
        try:
            metadata = pyarrow.parquet.read_metadata(self.path)
        except (pyarrow.ArrowException, OSError):
            return [self]  # reading it states the fault
        sizes = [
            metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups)
        ]
        cuts, taken = [0], 0
        for number, size in enumerate(sizes):
            taken += size
            if taken >= PIECE_BYTES:
                cuts.append(number + 1)
                taken = 0
        if cuts[-1] != len(sizes):
            cuts.append(len(sizes))
        return [FileSource(self.path, range(start, end)) for start, end in itertools.pairwise(cuts)]

    def describe(self) -> dict[str, Any]:
        size = self.path.stat().st_size
        entry = {"path": self.shown, "sha256": runs.sha256(self.path), "bytes": size}
        return {"source": self.shown, "files": [entry]}

    def documents(
        self, chosen: dict[str, Language], data: Data, faults: Faults
    ) -> Iterator[Document]:
        make = _Maker(self.shown, data, chosen, faults, columns=data.columns)
        for line, row, raw in self.rows(faults):
            document = make(line, row, raw)
            if document is not None:
                yield document

    def rows(self, faults: Faults) -> Iterator[tuple[int, dict[str, Any], bytes]]:
        """Yield line, fields and raw bytes of everything that can be read, document or not."""
        readers = {
            ".jsonl": self._json_lines,
            ".parquet": self._parquet,
            ".csv": self._csv,
            ".txt": self._text,
        }
        return readers[_format(self.path)](faults)

    def _json_lines(self, faults: Faults) -> Iterator[tuple[int, dict[str, Any], bytes]]:
        for line, raw in self._lines(faults):
            if not raw.strip():
                continue
            try:
                row = json.loads(raw)
            except UnicodeDecodeError:
                faults.add(self.shown, line, "not UTF-8", raw)
            except (json.JSONDecodeError, RecursionError):
                faults.add(self.shown, line, "not JSON", raw)
            else:
                if isinstance(row, dict):
                    yield line, row, raw
                else:
                    faults.add(self.shown, line, "not a JSON object", raw)

    def _text(self, faults: Faults) -> Iterator[tuple[int, dict[str, Any], bytes]]:
        """Yield one document a paragraph: paragraphs are parted by empty lines."""
        paragraph: list[bytes] = []
        start = 1
        for line, raw in self._lines(faults):
            if raw.strip():
                start = line if not paragraph else start
                paragraph.append(raw)
                continue
            yield from self._paragraph(start, paragraph, faults)
            paragraph = []
        yield from self._paragraph(start, paragraph, faults)

    def _paragraph(
        self, line: int, lines: list[bytes], faults: Faults
    ) -> Iterator[tuple[int, dict[str, Any], bytes]]:
        raw = b"".join(lines)
        try:
            text = raw.decode("utf-8").strip()
        except UnicodeDecodeError:
            faults.add(self.shown, line, "not UTF-8", raw)
        else:
            if text:
                yield line, {"text": text}, raw

    def _csv(self, faults: Faults) -> Iterator[tuple[int, dict[str, Any], bytes]]:
        decoded = (
            text
            for line, raw in self._lines(faults)
            if (text := self._decode(line, raw, faults)) is not None
        )
        rows = csv.DictReader(decoded)
        while True:
            try:
                row = next(rows, None)
            except csv.Error as fault:
                faults.add(self.shown, rows.line_num, f"not CSV: {fault}")
                continue
            if row is None:
                return
            # More cells than the header has names end up under the key None.
            if None in row:
                faults.add(self.shown, rows.line_num, "more cells than columns", str(row))
                continue
            yield rows.line_num, row, str(row).encode()

    def _decode(self, line: int, raw: bytes, faults: Faults) -> str | None:
        try:
            return raw.decode("utf-8-sig" if line == 1 else "utf-8")
        except UnicodeDecodeError:
            faults.add(self.shown, line, "not UTF-8", raw)
            return None

    def _parquet(self, faults: Faults) -> Iterator[tuple[int, dict[str, Any], bytes]]:
        line = 0
        try:
            with pyarrow.parquet.ParquetFile(self.path) as file:
                groups = self._row_groups or range(file.num_row_groups)
                before = range(groups.start)
                line = sum(file.metadata.row_group(number).num_rows for number in before)
                for batch in file.iter_batches(batch_size=256, row_groups=list(groups)):
                    for row in batch.to_pylist():
                        line += 1
                        yield line, row, b""
        except (pyarrow.ArrowException, OSError) as fault:
            faults.add(self.shown, line + 1, f"damaged Parquet: {str(fault).splitlines()[0]}")

    def _lines(self, faults: Faults) -> Iterator[tuple[int, bytes]]:
        """Yield numbered lines; a damaged archive ends them with a fault, not with an error."""
        number = 0
        try:
            with _opened(self.path) as stream:
                while raw := stream.readline(MAX_LINE_BYTES):
                    number += 1
                    if len(raw) == MAX_LINE_BYTES and not raw.endswith(b"\n"):
                        faults.add(self.shown, number, "line longer than 64 MiB", raw[:1000])
                        while raw and not raw.endswith(b"\n"):
                            raw = stream.readline(MAX_LINE_BYTES)
                        continue
                    yield number, raw
        except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as fault:
            reason = "truncated archive" if isinstance(fault, EOFError) else "damaged archive"
            faults.add(self.shown, number + 1, reason)
        except OSError as fault:
            faults.add(self.shown, number + 1, f"not readable: {fault.strerror or fault}")


@dataclass
class HubSource(Source):
    """A hub data set, or a local folder laid out as one, streamed through ``datasets``."""

    name: str
    shown: str
    revision: str | None = None
    local: bool = False
    only: str = ""
    """Tag of the one language to read; all chosen ones where it is empty."""

    def pieces(self, chosen: Sequence[Language]) -> Sequence[Source]:
        return [dataclasses.replace(self, only=language.tag) for language in chosen]

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
        files = [file for file in sorted(Path(self.name).rglob("*")) if file.is_file()]
        return {
            "source": self.shown,
            "files": [
                {"path": _shown(file), "sha256": runs.sha256(file), "bytes": file.stat().st_size}
                for file in files
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
        first = str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
        return UserError(
            f"source {self.shown!r} cannot be reached: {first[:200]}; check the name and the "
            "network, or download it and give its folder instead"
        )

    def documents(
        self, chosen: dict[str, Language], data: Data, faults: Faults
    ) -> Iterator[Document]:
        import datasets

        datasets.disable_progress_bars()
        known = HUB_DATA_SETS.get(self.name)
        available = self._configs()
        columns = {**(known.columns if known else {}), **data.columns}
        matched = False
        wanted = [one for one in chosen.values() if self.only in ("", one.tag)]
        for language in wanted:
            config = self._config_of(language, known, available, data)
            if config is None:
                continue
            matched = True
            yield from self._stream(language, config, columns, known, data, faults, chosen)
        if not matched and not self.only:
            raise UserError(
                f"source {self.shown!r} has no configuration for the chosen languages; it has "
                f"{', '.join(available[:8])}{' ...' if len(available) > 8 else ''}; map them with "
                "data.configs"
            )

    def _configs(self) -> list[str]:
        import datasets

        try:
            return list(datasets.get_dataset_config_names(self.name, revision=self.revision))
        except Exception as fault:  # as above, and the builder's own
            raise self._unreachable(fault) from None

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

    def _stream(
        self,
        language: Language,
        config: str,
        columns: dict[str, str],
        known: HubDataSet | None,
        data: Data,
        faults: Faults,
        chosen: dict[str, Language],
    ) -> Iterator[Document]:
        import datasets

        shown = f"{self.shown}[{config}]"
        make = _Maker(
            shown, data, chosen, faults, columns, language.tag, known.licence if known else None
        )
        line = 0
        taken = 0
        try:
            rows = datasets.load_dataset(
                self.name, config, split="train", streaming=True, revision=self.revision
            )
            for line, row in enumerate(rows, start=1):
                document = make(line, row, b"")
                if document is None:
                    continue
                yield document
                taken += len(document.text.encode())
                if data.bytes_per_language and taken >= data.bytes_per_language:
                    return
        except UserError:
            raise
        except (pyarrow.ArrowException, OSError, ValueError, RuntimeError) as fault:
            if line == 0 and not self.local:
                raise self._unreachable(fault) from None
            faults.add(shown, line + 1, f"not readable: {str(fault).splitlines()[0][:200]}")


class _Maker:
    """Turns a source's rows into documents, and says why it cannot."""

    def __init__(
        self,
        shown: str,
        data: Data,
        chosen: dict[str, Language],
        faults: Faults,
        columns: dict[str, str],
        lang: str = "",
        licence: str | None = None,
    ) -> None:
        self._shown = shown
        self._faults = faults
        self._columns = columns
        self._licence = licence or data.licence
        self._lang = lang or (languages.get(data.language).tag if data.language else "")
        self._from_name = "" if self._lang else _language_in_name(shown)
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


def _format(path: Path) -> str:
    name = path.name.lower()
    for ending in COMPRESSIONS:
        name = name.removesuffix(ending)
    return Path(name).suffix


def _opened(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return io.BufferedReader(gzip.open(path, "rb"))
    if path.suffix.lower() == ".zst":
        return io.BufferedReader(_Zstandard(path), 2**20)
    return path.open("rb")


class _Zstandard(io.RawIOBase):
    """Reads Zstandard frames; one that breaks off is an ``EOFError``, as with gzip.

    The library's own stream reader takes the end of the file for the end of the text.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._begun = False
        self._waiting = b""
        self._compressed = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._waiting:
            self._compressed = self._compressed or self._file.read(2**16)
            if not self._compressed:
                if self._begun:
                    raise EOFError("the archive ends within a frame")
                return 0
            self._waiting = self._frame.decompress(self._compressed)
            self._begun = not self._frame.eof
            self._compressed = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
        count = min(len(buffer), len(self._waiting))
        buffer[:count] = self._waiting[:count]
        self._waiting = self._waiting[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _shown(path: Path) -> str:
    """Return how a file is called in records: relative to the project, where that is short."""
    for base, prefix in ((runs.home(), ""), (runs.home().parent, "../")):
        if path.is_relative_to(base):
            return prefix + path.relative_to(base).as_posix()
    return str(path)


def describe(sources: Iterable[Source]) -> list[dict[str, Any]]:
    """Return what the record says of ``sources``."""
    return [source.describe() for source in sources]
