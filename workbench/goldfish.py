"""What Goldfish scored on FLORES: a yardstick for the bits of second halves.

Goldfish (Chang et al. 2024, arXiv 2408.10441) are monolingual models trained alike on 10 MB, 100 MB
and 1 GB of text, measured in a language's bytes relative to English for the same content. The table
is ``goldfish.tsv``: the mean bits of the second half of a FLORES-200 sentence given its first, from
``data/flores_logperplexities.tsv`` of github.com/tylerachang/goldfish, rounded to two decimals.
The models are under Apache-2.0; no licence was seen beside the figures, which are facts.

Where there was no model of that size there is no figure: of Irish, Nynorsk and Luxembourgish there
was less than 1 GB of text, of Latgalian less than 100 MB. Estonian (``est_Latn`` in FLORES-200),
Latvian and Albanian were scored with models of ``est``, ``lav`` and ``sqi``. Which of FLORES's
sentences were scored, those of ``dev``, those of ``devtest`` or both, could not be verified; nor
could the figures be measured again, for want of the models and of FLORES.
"""

import csv
import functools
from collections.abc import Mapping, Sequence
from importlib import resources

SIZES = {"10mb": "10 MB", "100mb": "100 MB", "1gb": "1 GB"}
"""How much text the models were trained on: in names of columns, and in words."""


@functools.cache
def published() -> Mapping[str, dict[str, float | None]]:
    """Return language tag to size of the training text to bits; ``None`` where there is none."""
    text = (resources.files("workbench") / "goldfish.tsv").read_text(encoding="utf-8")
    return {
        row["tag"]: {size: _number(row[f"bits_{size}"]) for size in SIZES}
        for row in csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    }


def columns(tag: str) -> dict[str, float | None]:
    """Return a language's figures as columns of a table, ``goldfish_10mb`` and so on."""
    known = published().get(tag, {})
    return {f"goldfish_{size}": known.get(size) for size in SIZES}


def same_text(sources: Sequence[str]) -> bool:
    """Return whether all ``sources`` call themselves FLORES, anywhere in their names.

    Only then do scores stand beside Goldfish's: other sentences are longer or shorter, and take
    other bits for that reason alone. Not handled: a copy of FLORES under another name, and other
    text under that one.
    """
    return bool(sources) and all("flores" in source.lower() for source in sources)


def _number(text: str) -> float | None:
    return None if text == "-" else float(text)
