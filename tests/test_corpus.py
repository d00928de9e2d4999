import csv
import dataclasses
import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from conftest import printed

from workbench import corpus, languages
from workbench.errors import UserError
from workbench.sections import Data

ROWS = [
    {"id": f"d{number}", "lang": tag, "text": f"{text} {number}"}
    for number in range(40)
    for tag, text in (("mt", "Il-vapur jitlaq kmieni"), ("el", "Το πλοίο φεύγει νωρίς"))
]


def lines(rows=ROWS):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def read(*sources, **more):
    faults = corpus.Faults()
    data = Data(sources=[str(source) for source in sources], **more)
    return list(corpus.read(data, faults)), faults


def write(tmp_path, ending):
    path = tmp_path / f"text{ending}"
    if ending.endswith(".gz"):
        path.write_bytes(gzip.compress(lines()))
    elif ending.endswith(".zst"):
        path.write_bytes(zstandard.compress(lines()))
    elif ending == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    elif ending == ".csv":
        with path.open("w", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, ["id", "lang", "text"])
            writer.writeheader()
            writer.writerows(ROWS)
    else:
        path.write_bytes(lines())
    return path


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet", ".csv"])
def test_every_format_gives_the_same_documents(tmp_path, ending):
    documents, faults = read(write(tmp_path, ending))
    assert faults.total == 0
    assert [(one.id, one.text) for one in documents] == [(row["id"], row["text"]) for row in ROWS]
    assert {one.lang for one in documents} == {"mlt_Latn", "ell_Grek"}


def test_plain_text_is_cut_at_empty_lines_and_named_by_its_file(tmp_path):
    (tmp_path / "fi.txt").write_text("Yksi.\nKaksi.\n\nKolme.\n", encoding="utf-8")
    documents, _ = read(tmp_path / "*.txt")
    assert [one.text for one in documents] == ["Yksi.\nKaksi.", "Kolme."]
    assert {one.lang for one in documents} == {"fin_Latn"}


def test_a_language_may_come_with_its_script(tmp_path):
    rows = [{"lang": "sr", "script": script, "text": "x"} for script in ("Latn", "Cyrl")]
    (tmp_path / "a.jsonl").write_bytes(lines(rows))
    documents, _ = read(tmp_path / "a.jsonl")
    assert [one.lang for one in documents] == ["srp_Latn", "srp_Cyrl"]


def test_faults_are_told_counted_and_set_aside_and_the_rest_goes_on(tmp_path):
    good = b'{"id": "ok", "lang": "mt", "text": "tajjeb"}\n'
    bad = [
        b"{not json}\n",
        b'{"text": "caf\xe9", "lang": "fr"}\n',
        b'{"id": 3, "lang": "mt"}\n',
        b'{"lang": "mt", "text": "  "}\n',
        b'{"lang": "xx", "text": "?"}\n',
        b"[1]\n",
        b'{"lang": "mt", "text": 7}\n',
        b'{"lang": "mt", "text": "\\ud800"}\n',
        b'{"text": "no language"}\n',
    ]
    path = tmp_path / "a.jsonl"
    path.write_bytes(good + b"".join(bad) + good)
    faults = corpus.Faults(tmp_path / "quarantine.jsonl")
    documents = list(corpus.read(Data(sources=[str(path)]), faults))
    faults.close()
    assert len(documents) == 2
    aside = [json.loads(line) for line in (tmp_path / "quarantine.jsonl").open(encoding="utf-8")]
    assert [row["line"] for row in aside] == list(range(2, 11))
    reasons = [row["reason"] for row in aside]
    assert reasons[:2] == ["not JSON", "not UTF-8"]
    assert reasons[2:5] == ["no field 'text'", "empty text", "unknown language 'xx'"]
    assert "caf\\xe9" in aside[1]["raw"], "nothing of the bad line is lost"
    assert faults.total == len(bad) == sum(faults.by_reason.values())
    assert faults.first[0].endswith("a.jsonl:2: not JSON")


@pytest.mark.parametrize("ending", [".jsonl.gz", ".jsonl.zst"])
def test_a_truncated_archive_gives_what_can_be_read(tmp_path, ending):
    rows = [{"lang": "mt", "text": f"{n} {n * 7919**5 % 10**12}"} for n in range(30000)]
    pack = gzip.compress if ending.endswith(".gz") else zstandard.compress
    whole = pack(lines(rows))
    path = tmp_path / f"a{ending}"
    path.write_bytes(whole[: len(whole) * 2 // 3])
    documents, faults = read(path)
    assert 0 < len(documents) < len(rows)
    # The line on which the archive breaks off is no JSON either.
    assert faults.by_reason["truncated archive"] == 1


@pytest.mark.parametrize("ending", [".jsonl.gz", ".jsonl.zst", ".parquet"])
def test_a_file_that_is_not_what_its_name_says_is_a_fault(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"this is no archive, nor a table" * 100)
    documents, faults = read(path)
    assert documents == []
    assert faults.total == 1
    assert "damaged" in faults.first[0]


def test_missing_and_unknown_files_are_the_users_mistake(tmp_path):
    (tmp_path / "data.jsonl").write_bytes(lines())
    with pytest.raises(UserError, match="no such file.*did you mean 'data.jsonl'"):
        read(tmp_path / "dta.jsonl")
    (tmp_path / "a.docx").write_bytes(b"")
    with pytest.raises(UserError, match="none of the formats"):
        read(tmp_path / "a.docx")
    with pytest.raises(UserError, match="not of the form hub:owner/name"):
        read("hub:fineweb")


def test_columns_are_mapped_by_the_recipe(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines([{"body": "tajjeb", "key": "k"}]))
    documents, _ = read(path, columns={"text": "body", "id": "key"}, language="mt", licence="CC0")
    assert (documents[0].id, documents[0].text, documents[0].licence) == ("k", "tajjeb", "CC0")


def test_a_limit_holds_for_each_language(tmp_path):
    documents, _ = read(write(tmp_path, ".jsonl"), bytes_per_language=200)
    sizes = {}
    for one in documents:
        sizes[one.lang] = sizes.get(one.lang, 0) + len(one.text.encode())
    assert all(200 <= size < 300 for size in sizes.values())


def test_the_split_depends_on_the_id_alone():
    data = Data()
    names = [f"document-{number}" for number in range(5000)]
    split = {name: corpus.split_of(name, data) for name in names}
    assert split == {name: corpus.split_of(name, Data(languages=["mt"])) for name in names}
    counts = {part: list(split.values()).count(part) for part in corpus.SPLITS}
    assert counts["train"] == pytest.approx(4000, abs=150)
    assert counts["test"] == pytest.approx(500, abs=90)


def test_starter_passages_are_held_out_together_in_all_languages():
    documents, _ = read("starter")
    held = {}
    for one in documents:
        held.setdefault(one.lang, set())
        if corpus.split_of(one.id, Data()) == "test":
            held[one.lang].add(one.id)
    assert set(held) == set(languages.tags())
    assert len({frozenset(ids) for ids in held.values()}) == 1
    assert held["mlt_Latn"]


def hub_folder(tmp_path, rows=60, shards=2, words=80):
    """Write a folder laid out as FineWeb-2 is: a configuration a language, Parquet shards."""
    card = ["---", "configs:"]
    for tag in ("mlt_Latn", "ell_Grek"):
        folder = tmp_path / "data" / tag / "train"
        folder.mkdir(parents=True)
        card += [f"- config_name: {tag}", "  data_files:", "  - split: train"]
        card += [f"    path: data/{tag}/train/*"]
        for shard in range(shards):
            table = pyarrow.Table.from_pylist(
                [
                    {
                        "id": f"{tag}-{shard}-{n}",
                        "text": f"text {n} " * (words // 2),
                        "url": "https://x.eu",
                    }
                    for n in range(rows)
                ]
            )
            path = folder / f"{shard:03d}_00000.parquet"
            pyarrow.parquet.write_table(table, path, row_group_size=100)
    (tmp_path / "README.md").write_text("\n".join([*card, "---", ""]))
    return tmp_path


def test_a_folder_laid_out_as_a_hub_data_set_is_streamed(tmp_path):
    documents, faults = read(hub_folder(tmp_path), languages=["mt", "el", "fi"])
    assert faults.total == 0
    assert len(documents) == 240
    assert {one.lang for one in documents} == {"mlt_Latn", "ell_Grek"}
    assert documents[0].url == "https://x.eu"
    with pytest.raises(UserError, match="no configuration for the chosen languages.*ell_Grek"):
        read(tmp_path, languages=["fi"])


def test_memory_does_not_grow_with_the_source(tmp_path):
    """Eight times the text, read in a process each, must not take a quarter more memory."""
    code = (
        "import sys\n"
        "from workbench import corpus, memory\n"
        "from workbench.sections import Data\n"
        "n = sum(1 for _ in corpus.read(Data(sources=sys.argv[1:]), corpus.Faults()))\n"
        "print(n, memory.peak())\n"
    )
    peaks = []
    for name, rows in (("small", 2_000), ("large", 16_000)):
        folder = tmp_path / name
        folder.mkdir()
        source = str(hub_folder(folder, rows, shards=1, words=1000))
        # Arrow's own pool keeps freed memory, now more and now less.
        out = printed(code, source, ARROW_DEFAULT_MEMORY_POOL="system").split()
        assert int(out[0]) == 2 * rows
        peaks.append(int(out[1]))
    assert peaks[1] < 1.25 * peaks[0], peaks


def together(pieces, data):
    """The documents of all pieces, in their order, and the faults of all of them."""
    faults = corpus.Faults()
    found = [one for piece in pieces for one in corpus.read_from(piece, data, faults)]
    return found, faults.by_reason


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    """The same rows in every format, a data set's folder, a damaged file, and an empty one."""
    for ending in (".jsonl", ".jsonl.gz", ".jsonl.zst", ".csv"):
        write(tmp_path, ending)
    table = pyarrow.Table.from_pylist(ROWS)
    pyarrow.parquet.write_table(table, tmp_path / "text.parquet", row_group_size=9)
    (tmp_path / "fi.txt").write_text("Yksi.\n\nKaksi.\n", encoding="utf-8")
    (tmp_path / "bad.jsonl").write_bytes(lines()[:300] + b"\xff\n{}\n" + lines())
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "hub").mkdir()
    hub_folder(tmp_path / "hub")
    words = [str(tmp_path / "*.*"), str(tmp_path / "hub"), "starter"]
    return Data(sources=words, languages=["mt", "el", "fi"])


@pytest.mark.parametrize("small", [0, 1_000, 2**18])
def test_pieces_give_together_what_the_whole_gives(shapes, monkeypatch, small):
    monkeypatch.setattr(corpus, "SMALL_BYTES", small)
    monkeypatch.setattr(corpus, "PIECE_BYTES", 1000)
    pieces = corpus.units(shapes)
    whole, faults = together([corpus.resolve(shapes)], shapes)
    assert together(pieces, shapes) == (whole, faults)
    assert len({one.id for one in whole}) == 40 + 240 + 64 + 2
    assert len(faults) == 2
    # Each file by itself, Parquet as two or more; thousands of small files would be few pieces.
    if small == 0:
        assert len(pieces) >= 8 + 1 + 4 + 1
    elif small == 2**18:
        assert len(pieces) == 2, "all that is small, and the starter corpus"


def test_row_groups_are_cut_into_pieces_by_their_size(tmp_path, monkeypatch):
    path = write(tmp_path, ".parquet")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path, row_group_size=10)
    data = Data(sources=[str(path)])
    assert len(corpus.units(data)) == 1
    monkeypatch.setattr(corpus, "SMALL_BYTES", 0)
    size = pyarrow.parquet.read_metadata(path).row_group(0).total_byte_size
    monkeypatch.setattr(corpus, "PIECE_BYTES", 3 * size - 10)
    pieces = corpus.units(data)
    assert [piece[0].row_groups for piece in pieces] == [range(3), range(3, 6), range(6, 8)]


def test_a_limit_for_each_language_leaves_one_piece(shapes):
    limited = dataclasses.replace(shapes, bytes_per_language=500)
    (piece,) = corpus.units(limited)
    found, _ = together([piece], limited)
    assert found == list(corpus.read(limited, corpus.Faults()))


def test_what_cannot_be_read_as_a_data_set_is_one_line(tmp_path):
    hub_folder(tmp_path)
    for shard in (tmp_path / "data" / "mlt_Latn" / "train").iterdir():
        shard.rename(shard.with_suffix(".arrow"))
    with pytest.raises(UserError, match="arrow is none of the formats"):
        read(tmp_path, languages=["mt"])
    card = (tmp_path / "README.md").read_text().replace("split: train", "split: test")
    (tmp_path / "README.md").write_text(card)
    with pytest.raises(UserError, match="mlt_Latn has no split 'train'; it has test"):
        read(tmp_path, languages=["mt"])


def test_a_bad_document_of_a_data_set_is_told_by_its_file(tmp_path):
    hub_folder(tmp_path, shards=1)
    (path,) = (tmp_path / "data" / "mlt_Latn" / "train").iterdir()
    rows = pyarrow.parquet.read_table(path).to_pylist()
    rows[3]["text"] = " "
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    documents, faults = read(tmp_path, languages=["mt"])
    assert len(documents) == 59
    assert len(faults.first) == 1
    # Named from the project's folder where that is near, which depends on the tests run before.
    assert faults.first[0].endswith(f"data/mlt_Latn/train/{path.name}:4: empty text")


def test_evaluation_sets_give_every_text_however_deep(tmp_path):
    path = tmp_path / "quiz.jsonl"
    path.write_text(
        '{"question": "X\'inhi?", "choices": [{"text": "vapur", "ok": true}, ["triq", 3]]}\n'
        '{"answers": {"text": ["Ναι", null], "start": [4]}}\n',
        encoding="utf-8",
    )
    (source,) = corpus.files(str(path))
    assert list(corpus.all_texts(source)) == ["X'inhi?", "vapur", "triq", "Ναι"]
    path.write_text('{"question": "X\'inhi?"}\n{\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"quiz\.jsonl:2: not JSON; an evaluation set has to be"):
        list(corpus.all_texts(source))
    with pytest.raises(UserError, match="is a folder; name its files"):
        corpus.files(str(tmp_path))
    with pytest.raises(UserError, match="no such file.*did you mean 'quiz.jsonl'"):
        corpus.files(str(tmp_path / "qiz.jsonl"))


def test_a_hub_out_of_reach_is_one_line():
    with pytest.raises(UserError, match="cannot be reached") as caught:
        read("hub:HuggingFaceFW/fineweb-2", languages=["mt"])
    assert "\n" not in str(caught.value)
