"""Rows of files: what is read of each format, and what of a damaged file is not lost."""

import gzip
import io
import json
import random

import fsspec
import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from workbench import rows
from workbench.errors import UserError

TEXTS = ["Il-vapur jitlaq kmieni.", "Το πλοίο φεύγει νωρίς.", "გემი ადრე გადის.", "Laiva lähtee."]


def read(path, tmp_path, **more):
    """The rows of a file as line and fields, its faults, and what was set aside."""
    aside = tmp_path / "aside.jsonl"
    with rows.Faults(aside) as faults:
        found = [(line, row) for line, row, _ in rows.read(path, faults, "it", **more)]
    lines = aside.read_text(encoding="utf-8").splitlines() if aside.exists() else []
    return found, faults, [json.loads(line) for line in lines]


def groups(path, count=4, size=3):
    """A Parquet file of row groups, and where in the file each group's bytes begin."""
    table = pyarrow.Table.from_pylist(
        [{"id": n, "text": TEXTS[n % 4] * 40 + str(n)} for n in range(count * size)]
    )
    pyarrow.parquet.write_table(table, path, row_group_size=size, compression="gzip")
    metadata = pyarrow.parquet.read_metadata(path)
    return [
        min(
            metadata.row_group(g).column(c).dictionary_page_offset
            or metadata.row_group(g).column(c).data_page_offset
            for c in range(2)
        )
        for g in range(count)
    ]


def test_row_groups_can_be_read_apart_with_the_same_lines(tmp_path):
    groups(tmp_path / "a.parquet")
    whole, *_ = read(tmp_path / "a.parquet", tmp_path)
    parts = [
        row
        for part in (range(2), range(2, 3), range(3, 4))
        for row in read(tmp_path / "a.parquet", tmp_path, row_groups=part)[0]
    ]
    assert [line for line, _ in whole] == list(range(1, 13))
    assert parts == whole


def test_a_damaged_row_group_is_told_and_the_others_go_on(tmp_path):
    path = tmp_path / "a.parquet"
    starts = groups(path)
    content = bytearray(path.read_bytes())
    content[starts[1] : starts[2]] = b"\xff" * (starts[2] - starts[1])
    path.write_bytes(content)
    found, faults, aside = read(path, tmp_path)
    assert [row["id"] for _, row in found] == [0, 1, 2, 6, 7, 8, 9, 10, 11]
    assert faults.total == 1
    assert aside[0]["line"] == 4
    assert "damaged Parquet, rest of row group 1" in aside[0]["reason"]


def test_csv_keeps_the_lines_that_it_cannot_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(
        'lang,text\nmt,"żewġ\nlinji"\nel,ένα,δύο\nfi,lone \r carriage return\nmt,tajjeb\n'.encode()
    )
    found, faults, aside = read(path, tmp_path)
    assert [row for _, row in found] == [
        {"lang": "mt", "text": "żewġ\nlinji"},
        {"lang": "mt", "text": "tajjeb"},
    ]
    assert [row["raw"] for row in aside] == ["el,ένα,δύο\n", "fi,lone \r carriage return\n"]
    assert aside[0]["reason"] == "more cells than columns"
    assert faults.total == 2


def test_a_cell_may_be_as_long_as_a_document(tmp_path):
    long = "ა" * 200_000
    (tmp_path / "a.csv").write_text(f"text\n{long}\n", encoding="utf-8")
    found, faults, _ = read(tmp_path / "a.csv", tmp_path)
    assert (found[0][1]["text"], faults.total) == (long, 0)


def packed(ending, content):
    """The bytes of a file of that format."""
    if ending == ".parquet":
        out = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(content), out, row_group_size=100)
        return out.getvalue()
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content).encode()
    pack = {".jsonl.gz": gzip.compress, ".jsonl.zst": zstandard.compress}.get(ending, bytes)
    return pack(lines)


ENDINGS = [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_remote_file_is_read_like_one_on_disk(tmp_path, ending):
    content = [{"text": text} for text in TEXTS * 100]
    address = f"memory://rows/a{ending}"
    with fsspec.open(address, "wb") as out:
        out.write(packed(ending, content))
    found, faults, _ = read(address, tmp_path)
    assert [row for _, row in found] == content
    assert faults.total == 0


class Breaking(io.BytesIO):
    """A file of which the network gives only the beginning, and what it is asked for at the end."""

    def open(self):
        return self

    def read(self, size=-1):
        if 100_000 < self.tell() < len(self.getvalue()) - 10_000:
            raise ConnectionResetError("reset by peer\nand more")
        return super().read(size)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_connection_that_breaks_ends_the_reading_with_one_line(tmp_path, ending, monkeypatch):
    """It is no fault of the file's, after which the rest would be missing in silence."""
    noise = random.Random(1)
    content = [{"text": TEXTS[n % 4], "salt": noise.randbytes(400).hex()} for n in range(6000)]
    broken = Breaking(packed(ending, content))
    monkeypatch.setattr(fsspec, "open", lambda *about: broken)
    monkeypatch.setattr(rows, "REMOTE_BUFFER", 2**16)
    seen = []
    with pytest.raises(UserError, match="cannot be reached: reset by peer; the same") as caught:
        seen.extend(rows.read(f"hf://a{ending}", rows.Faults()))
    assert "\n" not in str(caught.value)
    assert [row for _, row, _ in seen] == content[: len(seen)]


def test_a_remote_file_out_of_reach_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"memory://rows/no\.jsonl cannot be reached") as caught:
        read("memory://rows/no.jsonl", tmp_path)
    assert "\n" not in str(caught.value)
