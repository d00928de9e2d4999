"""Croissant metadata, held against MLCommons' own library: what it validates and what it reads."""

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import mlcroissant
import pytest
import zstandard

import write_croissant
from workbench import croissant, languages, passages
from workbench.errors import UserError

# What MLCommons' library itself still calls.
pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph:DeprecationWarning")

FILE = passages.FOLDER / croissant.FILE
ROWS = {
    "mlt_Latn": [
        {"id": "a#1", "text": "Il-qattus jorqod.", "url": "https://example.org/1"},
        {"id": "a#2", "text": "Ix-xita waqfet.", "url": ""},
    ],
    "ell_Grek": [{"id": "b#1", "text": "Η γάτα κοιμάται.", "url": ""}],
}
STATED = {"version": "1.0.0", "published": "2026-11-26", "cite_as": "Nobody, nothing."}


def documents(folder: Path, ending: str) -> None:
    """Write ``ROWS`` as a cleaned data set: one file a language."""
    for tag, rows in ROWS.items():
        whole = [{"lang": tag, "source": "made up", "licence": "CC0-1.0"} | row for row in rows]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in whole).encode()
        if ending == ".zst":
            lines = zstandard.compress(lines)
        elif ending == ".gz":
            lines = gzip.compress(lines)
        (folder / f"{tag}.jsonl{ending}").write_bytes(lines)


def described(folder: Path, ending: str, **changes: Any) -> dict[str, Any]:
    stated = {
        "name": "two-languages",
        "description": "Three sentences.",
        "licences": ["CC0-1.0", "CC BY-SA 4.0"],
        "files": ["*.jsonl" + ending],
        "languages": ["mt", "Greek"],
    }
    return croissant.of_documents(folder, **(stated | STATED | changes))


def load(metadata: dict[str, Any], folder: Path) -> mlcroissant.Dataset:
    file = folder / croissant.FILE
    file.write_text(json.dumps(metadata, ensure_ascii=False), encoding="utf-8")
    return mlcroissant.Dataset(file)


def records(data_set: mlcroissant.Dataset, name: str) -> list[dict[str, Any]]:
    """Return the records as the library reads them, text decoded and names shortened."""
    return [
        {field.removeprefix(f"{name}/"): decoded(value) for field, value in record.items()}
        for record in data_set.records(name)
    ]


def decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [decoded(one) for one in value]
    return value.decode("utf-8") if isinstance(value, bytes) else value


@pytest.fixture(scope="module")
def starter() -> mlcroissant.Dataset:
    return mlcroissant.Dataset(FILE)


def test_the_file_in_the_package_is_up_to_date():
    written = json.loads(FILE.read_text(encoding="utf-8"))
    assert written == croissant.starter(), f"due: python {Path(write_croissant.__file__).name}"


def test_the_tool_writes_the_file(tmp_path, monkeypatch, capsys):
    for part in ("passages", "prompts", "pairs"):
        (tmp_path / part).mkdir()
        for file in (passages.FOLDER / part).iterdir():
            (tmp_path / part / file.name).symlink_to(file)
    (tmp_path / "index.json").symlink_to(passages.FOLDER / "index.json")
    monkeypatch.setattr(passages, "FOLDER", tmp_path)
    write_croissant.main()
    assert (tmp_path / croissant.FILE).read_bytes() == FILE.read_bytes()
    assert capsys.readouterr().out == f"{tmp_path / croissant.FILE}\n"


def test_the_starter_is_valid_without_a_warning(starter):
    issues = starter.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    assert starter.metadata.ctx.conforms_to.value == "http://mlcommons.org/croissant/1.1"


def test_every_file_of_the_starter_is_there_with_its_checksum():
    objects = {
        entry["contentUrl"]: entry
        for entry in croissant.starter()["distribution"]
        if entry["@type"] == "cr:FileObject"
    }
    there = {
        file.relative_to(passages.FOLDER).as_posix(): file.read_bytes()
        for file in passages.FOLDER.rglob("*.json*")
        if file != FILE
    }
    assert {path: entry["sha256"] for path, entry in objects.items()} == {
        path: hashlib.sha256(content).hexdigest() for path, content in there.items()
    }
    assert objects["pairs/srp_Cyrl.jsonl"]["inLanguage"] == "sr-Cyrl"
    assert objects["index.json"]["contentSize"] == f"{len(there['index.json'])} B"


def test_the_library_reads_the_passages_as_we_do(starter):
    read: dict[str, dict[str, list[str]]] = {}
    for record in records(starter, "passages"):
        read.setdefault(record["language"], {})[record["id"]] = record["sentences"]
    assert read == {tag: passages.read(tag) for tag in languages.tags()}


def test_the_library_reads_prompts_and_pairs_as_we_do(starter):
    prompts = {(row["language"], row["id"]): row["text"] for row in records(starter, "prompts")}
    assert prompts == {
        (tag, name): text
        for tag in languages.tags()
        for name, text in passages.prompts(tag).items()
    }
    # Its reader takes "001" for a number.
    read = {
        (row["language"], int(row["id"])): (row["phenomenon"], row["good"], row["bad"])
        for row in records(starter, "pairs")
    }
    assert read == {
        (tag, int(pair.id)): (pair.phenomenon, pair.good, pair.bad)
        for tag in languages.tags()
        for pair in passages.pairs(tag)
    }


def test_the_library_reads_the_lists_of_languages_and_phenomena(starter):
    named = {row["name"]: row["description"] for row in records(starter, "languages")}
    assert set(named) == set(languages.tags())
    assert named["mlt_Latn"] == "Maltese, mt"
    phenomena = {row["name"]: row["description"] for row in records(starter, "phenomena")}
    assert phenomena == passages.index()["phenomena"]


def test_the_starter_says_that_a_machine_wrote_it_and_what_is_weak(starter):
    about = starter.metadata
    assert "language model" in about.data_collection
    assert "Synthetic" in about.description
    assert croissant.starter()["digitalSourceType"] == croissant.SYNTHETIC
    assert about.license == ["https://creativecommons.org/publicdomain/zero/1.0/"]
    assert set(about.in_language) == {entry.bcp47 for entry in languages.all_languages()}
    assert about.version == passages.VERSION
    assert f"{about.date_published:%Y-%m-%d}" == passages.PUBLISHED
    assert about.cite_as.startswith("@misc{")
    limits = "\n".join(about.data_limitations)
    for tag, weakness in passages.index()["weaknesses"].items():
        assert f"{languages.get(tag).name}: {weakness.rstrip('.')}." in limits
    # A term that the library did not know would be kept aside unread.
    unread = {term for term in about.extra_properties if term.startswith("rai:")}
    assert unread == set()


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_documents_are_read_by_the_library(tmp_path, ending):
    documents(tmp_path, ending)
    data_set = load(described(tmp_path, ending), tmp_path)
    issues = data_set.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    read = {row["id"]: row for row in records(data_set, "documents")}
    assert {name: row["text"] for name, row in read.items()} == {
        row["id"]: row["text"] for rows in ROWS.values() for row in rows
    }
    assert read["b#1"]["lang"] == "ell_Grek"
    assert read["a#1"]["url"] == "https://example.org/1"
    assert read["a#2"]["licence"] == "CC0-1.0"


def test_documents_in_zstandard_are_described_with_all_that_is_known(tmp_path):
    documents(tmp_path, ".zst")
    metadata = described(tmp_path, ".zst", creator="Somebody", keywords=["text"])
    issues = load(metadata, tmp_path).metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    greek, maltese, file_set = metadata["distribution"]
    content = (tmp_path / "ell_Grek.jsonl.zst").read_bytes()
    assert greek == {
        "@type": "cr:FileObject",
        "@id": "ell_Grek.jsonl.zst",
        "name": "ell_Grek.jsonl.zst",
        "contentUrl": "ell_Grek.jsonl.zst",
        "contentSize": f"{len(content)} B",
        "encodingFormat": ["application/jsonlines", "application/zstd"],
        "sha256": hashlib.sha256(content).hexdigest(),
        "inLanguage": "el",
    }
    assert maltese["inLanguage"] == "mt"
    assert file_set["includes"] == ["*.jsonl.zst"]
    assert metadata["inLanguage"] == ["el", "mt"]
    assert metadata["license"] == [
        "https://creativecommons.org/publicdomain/zero/1.0/",
        "https://creativecommons.org/licenses/by-sa/4.0/",
    ]
    assert metadata["creator"]["name"] == "Somebody"
    assert "digitalSourceType" not in metadata


def test_what_is_not_stated_is_left_out_and_missed_by_the_library(tmp_path):
    documents(tmp_path, "")
    metadata = described(tmp_path, "", version="", published="", cite_as="")
    assert metadata.keys().isdisjoint({"version", "datePublished", "citeAs", "creator"})
    issues = load(metadata, tmp_path).metadata.ctx.issues
    assert issues.errors == set()
    assert len(issues.warnings) == 3


def test_the_library_refuses_what_points_to_nothing(tmp_path):
    documents(tmp_path, "")
    metadata = described(tmp_path, "")
    metadata["distribution"].pop()
    with pytest.raises(mlcroissant.ValidationError, match="documents-files"):
        load(metadata, tmp_path)


def test_a_file_that_is_not_there_is_told_with_the_nearest(tmp_path):
    documents(tmp_path, ".zst")
    with pytest.raises(UserError, match=r"no file 'mlt_Latin.jsonl.zst' \(did you mean 'mlt_Latn"):
        described(tmp_path, "", files=["mlt_Latin.jsonl.zst"])


def test_files_without_records_are_listed_too(tmp_path):
    documents(tmp_path, ".gz")
    (tmp_path / "NOTES").write_text("by hand", encoding="utf-8")
    records = croissant.Records("rows", "All.", ("*.gz",), (croissant.Column("id", "a name"),))
    metadata = croissant.describe(
        tmp_path,
        name="rows",
        description="Rows.",
        licences=["MIT"],
        files=["NOTES"],
        record_sets=[records],
        languages=["mt", "el"],
        **STATED,
    )
    assert load(metadata, tmp_path).metadata.ctx.issues.warnings == set()
    formats = {entry["@id"]: entry["encodingFormat"] for entry in metadata["distribution"]}
    assert formats == {
        "NOTES": ["application/octet-stream"],
        "ell_Grek.jsonl.gz": ["application/jsonlines", "application/gzip"],
        "mlt_Latn.jsonl.gz": ["application/jsonlines", "application/gzip"],
        "rows-files": ["application/jsonlines", "application/gzip"],
    }


def test_an_unknown_term_and_an_unknown_language_are_told(tmp_path):
    documents(tmp_path, "")
    with pytest.raises(UserError, match=r"'dataBias' \(did you mean 'dataBiases'\?\)"):
        described(tmp_path, "", responsible_ai={"dataBias": "some"})
    with pytest.raises(UserError, match=r"unknown language 'Malteze' \(did you mean 'Maltese'"):
        described(tmp_path, "", languages=["Malteze"])


@pytest.mark.parametrize(
    ("licence", "page"),
    [
        ("CC0-1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
        ("CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
        ("CC-BY-4.0", "https://creativecommons.org/licenses/by/4.0/"),
        ("CC BY-NC-ND 3.0", "https://creativecommons.org/licenses/by-nc-nd/3.0/"),
        ("ODC-By-1.0", "https://spdx.org/licenses/ODC-By-1.0.html"),
        ("apache-2.0", "https://spdx.org/licenses/Apache-2.0.html"),
        ("CC BY 2.0 FR", "CC BY 2.0 FR"),
        ("CC-BY-SA", "CC-BY-SA"),
        ("public domain works", "public domain works"),
    ],
)
def test_a_licence_is_its_page_where_one_is_known(licence, page):
    assert croissant.licence_url(licence) == page
