"""Text with faults that are known, made from the starter corpus: what an inspection should find.

Real text has every one of these faults somewhere among millions of sound documents. Planted, they
can be counted beforehand, so that a lesson, or a test, sees whether each of them is found and for
the right reason. A document's id says which fault it has. The numbers of bank account and card are
those that IBAN's registry and card companies publish as examples.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workbench import disk, passages
from workbench import run as runs

SOURCE = "planted"
TEXT, EVALUATION = "planted.jsonl", "planted-evaluation.jsonl"
EXAMPLES = ("MT84 MALT 0110 0001 2345 MTLC AST0 01S", "4111 1111 1111 1111")
# Greek letters and the Latin ones that look like them.
LOOK_ALIKES = str.maketrans("οΑΕ", "oAE")


@dataclass(frozen=True)
class Planted:
    """Files to name in a recipe."""

    text: Path
    """For ``data.sources``, after ``starter``."""
    evaluation: Path
    """For ``contamination.sources``."""


def write(folder: str | Path = "") -> Planted:
    """Write the faulty documents, and an evaluation set that shares text with the starter corpus.

    Args:
        folder: where; the folder of all runs where it is not said.
    """
    place = Path(folder) if folder else runs.root()
    planted = Planted(place / TEXT, place / EVALUATION)
    rows = [
        {
            "id": f"{fault}-{number}",
            "lang": tag,
            "text": text,
            "source": SOURCE,
            "licence": passages.LICENCE,
        }
        for fault, own in _documents().items()
        for number, (tag, text) in enumerate(own, start=1)
    ]
    with disk.told_when_full(place):
        place.mkdir(parents=True, exist_ok=True)
    for file, lines in ((planted.text, rows), (planted.evaluation, list(_questions()))):
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        if not file.exists() or disk.read_text(file) != text:
            disk.write_text(file, text)
    return planted


def faults() -> dict[str, int]:
    """Return how many documents have each fault.

    The names are those of the filters that should object; documents of ``look-alikes`` and
    ``personal-data`` are mended and masked where a recipe has no filter for them.
    """
    return {fault: len(own) for fault, own in _documents().items()}


def _documents() -> dict[str, list[tuple[str, str]]]:
    """Return declared language and text by fault."""
    english, maltese, finnish, greek, georgian = (
        {name: " ".join(sentences) for name, sentences in passages.read(tag).items()}
        for tag in ("eng_Latn", "mlt_Latn", "fin_Latn", "ell_Grek", "kat_Geor")
    )
    ferry, tax, bees = "river-ferry", "tax-letter", "honey-bees"
    said = passages.read("eng_Latn")
    words = [word for name in (ferry, tax) for word in maltese[name].split()]
    return {
        "characters": [("fin_Latn", finnish[ferry].encode().decode("latin-1"))],
        "length": [("mlt_Latn", maltese[ferry].split(".")[0][:12]), ("kat_Geor", "და")],
        "language": [("mlt_Latn", finnish[bees]), ("fin_Latn", english[tax])],
        "script": [("kat_Geor", "კარგი " + " ".join("ABCDEFGHIJKLMNOP"))],
        "quality": [("mlt_Latn", "\n".join(words[::2]))],
        "repetition": [("eng_Latn", " ".join([said[ferry][0]] * 12))],
        "exact-duplicate": [("eng_Latn", english[ferry]), ("ell_Grek", f" {greek[bees]}\n")],
        "near-duplicate": [
            ("kat_Geor", f"{georgian[ferry]} {passages.read('kat_Geor')[bees][0]}"),
            ("eng_Latn", english[bees].replace("bees", "wasps")),
        ],
        "look-alikes": [("ell_Grek", greek[tax].translate(LOOK_ALIKES))],
        "personal-data": [
            (
                "eng_Latn",
                " ".join([*said[tax][:3], *said[ferry][3:], *said[bees][:3]])
                + f" Pay to {EXAMPLES[0]}, or with the card {EXAMPLES[1]}.",
            )
        ],
    }


def _questions() -> Iterator[dict[str, str]]:
    """Yield items of an evaluation set: a passage of the starter corpus, and what is asked."""
    for tag in ("mlt_Latn", "ell_Grek"):
        sentences = passages.read(tag)["apples-at-the-market"]
        yield {"passage": " ".join(sentences[:4]), "question": sentences[4], "answer": sentences[0]}
