"""Rows of one file of JSON Lines, Parquet, CSV or plain text, compressed or not, here or remote.

A file is read as a stream: memory stays flat however large it is. What cannot be read is a fault,
told by file, line and reason, counted, and kept in full in a quarantine file; the rest goes on.
"""

import csv
import gzip
import io
import itertools
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Self

import zstandard

from workbench import disk
from workbench.errors import UserError

FORMATS = (".jsonl", ".parquet", ".csv", ".txt")
COMPRESSIONS = (".gz", ".zst")
SHOWN_FAULTS = 5
MAX_LINE_BYTES = 64 * 2**20
REMOTE_BUFFER = 2**20
# A cell may be as long as a line; the standard library's own limit is 128 KiB.
csv.field_size_limit(MAX_LINE_BYTES)

Row = tuple[int, dict[str, Any], bytes]


class Faults:
    """What could not be read: counted by reason, kept in full in a quarantine file."""

    def __init__(self, quarantine: Path | None = None) -> None:
        self.by_reason: Counter[str] = Counter()
        self.first: list[str] = []
        self._quarantine = quarantine
        self._out: IO[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

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
        with disk.told_when_full(self._quarantine):
            self._out.write(json.dumps(row, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Finish the quarantine file."""
        if self._out is not None and self._quarantine is not None:
            with disk.told_when_full(self._quarantine):
                self._out.close()
            self._out = None

    def summary(self) -> dict[str, Any]:
        """Return the counts, and the first few faults in words."""
        return {"total": self.total, "by_reason": dict(self.by_reason), "first": self.first}


def read(
    file: Path | str, faults: Faults, shown: str = "", row_groups: range | None = None
) -> Iterator[Row]:
    """Yield line, fields and raw bytes of everything in a file that can be read.

    Args:
        file: a path, or the address of a remote file.
        faults: takes up every row that cannot be read.
        shown: how faults call the file.
        row_groups: of Parquet: which row groups to read; all where it is None.

    Raises:
        UserError: a remote file cannot be reached, at its beginning or later.
    """
    reader = _Reader(file, faults, shown or str(file), row_groups)
    formats = {
        ".jsonl": reader.json_lines,
        ".parquet": reader.parquet,
        ".csv": reader.csv,
        ".txt": reader.text,
    }
    yield from formats[format_of(file)]()


def format_of(file: Path | str) -> str:
    """Return the ending that says how a file is written: ``.jsonl`` for ``a.JSONL.gz``."""
    name = str(file).lower()
    for ending in COMPRESSIONS:
        name = name.removesuffix(ending)
    return Path(name).suffix


class _Reader:
    def __init__(
        self, file: Path | str, faults: Faults, shown: str, row_groups: range | None
    ) -> None:
        self._file = file
        self._faults = faults
        self._shown = shown
        self._row_groups = row_groups

    def json_lines(self) -> Iterator[Row]:
        for line, raw in self._lines():
            if not raw.strip():
                continue
            try:
                row = json.loads(raw)
            except UnicodeDecodeError:
                self._faults.add(self._shown, line, "not UTF-8", raw)
            except (json.JSONDecodeError, RecursionError):
                self._faults.add(self._shown, line, "not JSON", raw)
            else:
                if isinstance(row, dict):
                    yield line, row, raw
                else:
                    self._faults.add(self._shown, line, "not a JSON object", raw)

    def text(self) -> Iterator[Row]:
        """Yield one document a paragraph: paragraphs are parted by empty lines."""
        paragraph: list[bytes] = []
        start = 1
        for line, raw in self._lines():
            if raw.strip():
                start = line if not paragraph else start
                paragraph.append(raw)
                continue
            yield from self._paragraph(start, paragraph)
            paragraph = []
        yield from self._paragraph(start, paragraph)

    def _paragraph(self, line: int, lines: list[bytes]) -> Iterator[Row]:
        raw = b"".join(lines)
        try:
            text = raw.decode("utf-8").strip()
        except UnicodeDecodeError:
            self._faults.add(self._shown, line, "not UTF-8", raw)
        else:
            if text:
                yield line, {"text": text}, raw

    def csv(self) -> Iterator[Row]:
        taken: list[str] = []  # the lines of the row that is being read
        rows = csv.DictReader(self._decoded(taken))
        while True:
            taken.clear()
            fault = ""
            try:
                row = next(rows, None)
            except csv.Error as error:
                row, fault = {}, f"not CSV: {error}"
            if row is None:
                return
            # More cells than the header has names end up under the key None.
            if None in row:
                fault = "more cells than columns"
            if fault:
                self._faults.add(self._shown, rows.line_num, fault, "".join(taken))
            else:
                yield rows.line_num, row, "".join(taken).encode()

    def _decoded(self, taken: list[str]) -> Iterator[str]:
        for line, raw in self._lines():
            try:
                text = raw.decode("utf-8-sig" if line == 1 else "utf-8")
            except UnicodeDecodeError:
                self._faults.add(self._shown, line, "not UTF-8", raw)
            else:
                taken.append(text)
                yield text

    def parquet(self) -> Iterator[Row]:
        """Yield rows group by group; one that is damaged is a fault, and the next ones go on.

        Not through Arrow's data sets: their scanner reads ahead without bounds where what is
        read is slowly used.
        """
        # 27 MB of memory, which whoever reads no Parquet need not spend.
        import pyarrow.parquet

        try:
            with pyarrow.parquet.ParquetFile(_raw(self._file)) as file:
                sizes = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
                starts = [0, *itertools.accumulate(sizes)]
                for group in range(len(sizes)) if self._row_groups is None else self._row_groups:
                    yield from self._group(file, group, starts[group])
        except (pyarrow.ArrowException, OSError) as fault:
            self._faults.add(self._shown, 1, f"damaged Parquet: {first_line(fault)}")

    def _group(self, file: Any, group: int, line: int) -> Iterator[Row]:
        import pyarrow

        try:
            for batch in file.iter_batches(batch_size=256, row_groups=[group]):
                for row in batch.to_pylist():
                    line += 1
                    yield line, row, b""
        except (pyarrow.ArrowException, OSError) as fault:
            reason = f"damaged Parquet, rest of row group {group}: {first_line(fault)}"
            self._faults.add(self._shown, line + 1, reason)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield numbered lines; a damaged archive ends them with a fault, not with an error."""
        number = 0
        try:
            with _opened(self._file) as stream:
                while raw := stream.readline(MAX_LINE_BYTES):
                    number += 1
                    if len(raw) == MAX_LINE_BYTES and not raw.endswith(b"\n"):
                        reason = "line longer than 64 MiB"
                        self._faults.add(self._shown, number, reason, raw[:1000])
                        while raw and not raw.endswith(b"\n"):
                            raw = stream.readline(MAX_LINE_BYTES)
                        continue
                    yield number, raw
        except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as fault:
            reason = "truncated archive" if isinstance(fault, EOFError) else "damaged archive"
            self._faults.add(self._shown, number + 1, reason)
        except OSError as fault:
            self._faults.add(self._shown, number + 1, f"not readable: {fault.strerror or fault}")


def first_line(fault: Exception) -> str:
    """Return what an error of a library says, cut to one line."""
    words = str(fault).strip()
    return words.splitlines()[0][:200] if words else type(fault).__name__


def _opened(file: Path | str) -> IO[bytes]:
    raw = _raw(file)
    ending = Path(str(file).lower()).suffix
    if ending == ".gz":
        return io.BufferedReader(_Gzip(raw))
    return io.BufferedReader(_Zstandard(raw), 2**20) if ending == ".zst" else raw


def _raw(file: Path | str) -> IO[bytes]:
    if isinstance(file, Path):
        return file.open("rb")
    return io.BufferedReader(_Remote(file), REMOTE_BUFFER)


class _Remote(io.RawIOBase):
    """A file at an address; one out of reach is the user's to know of, not a fault in the file."""

    def __init__(self, address: str) -> None:
        import fsspec

        self._address = address
        self._file = self._tried(lambda: fsspec.open(address, "rb").open())

    def _tried(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as fault:  # the hub's client raises its own, httpx's and OS errors
            raise UserError(
                f"{self._address} cannot be reached: {first_line(fault)}; the same command goes on "
                "from what is finished"
            ) from None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        found = self._tried(lambda: self._file.read(len(buffer)))
        buffer[: len(found)] = found
        return len(found)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class _Gzip(gzip.GzipFile):
    """Reads gzip from an open file, and closes that too."""

    def __init__(self, raw: IO[bytes]) -> None:
        super().__init__(fileobj=raw, mode="rb")
        self._raw = raw

    def close(self) -> None:
        super().close()
        self._raw.close()


class _Zstandard(io.RawIOBase):
    """Reads Zstandard frames; one that breaks off is an ``EOFError``, as with gzip.

    The library's own stream reader takes the end of the file for the end of the text.
    """

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._begun = False
        self._waiting = b""
        self._compressed = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._waiting:
            self._compressed = self._compressed or self._raw.read(2**16)
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
        self._raw.close()
        super().close()
