"""The same code on natural text, where a folder of it lies beside the project."""

import json

import pytest
from conftest import SHARED

from workbench import corpus, languages
from workbench.sections import Data

pytestmark = pytest.mark.skipif(
    not (SHARED / "mono").is_dir(), reason="needs natural text in ../shared/data, which is not here"
)


def test_every_file_of_natural_text_is_read_without_fault():
    faults = corpus.Faults()
    counts = {}
    for document in corpus.read(Data(sources=[str(SHARED / "mono" / "*.jsonl.gz")]), faults):
        counts[document.lang] = counts.get(document.lang, 0) + 1
    assert faults.total == 0
    assert len(counts) == 41
    assert set(languages.tags()) - set(counts) == {"cnr_Latn", "ltg_Latn"}
    stated = json.loads((SHARED / "MANIFEST.json").read_text(encoding="utf-8"))["files"]
    assert sum(counts.values()) == sum(
        entry["documents"] for entry in stated if entry["file"].startswith("mono/")
    )
