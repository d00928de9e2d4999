"""Whether the same near-duplicates are found as by datasketch, with equal parameters.

Near-duplicates are planted by editing words of real documents; of every pair the exact Jaccard
index of its shingles is known. MinHash-LSH finds a pair by chance, more often the more alike it
is, so two correct tools with permutations of their own do not find the same pairs, nor does one
tool with two seeds. Therefore three questions are asked apart: are the same pairs found when both
are given the same permutations; is each found as often as theory says, over several seeds; and how
far do two seeds agree, of one tool and of both.

`python -m benchmarks.near_duplicates TEXT REPORT` reads what :func:`plant` wrote.
"""

import argparse
import dataclasses
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from workbench import duplicates, signals
from workbench.sections import Duplicates

if TYPE_CHECKING:
    import datasketch

SETTINGS = Duplicates()
SEEDS = (1, 2, 3, 4, 5)
BANDS = ((0.72, 0.8), (0.8, 0.85), (0.85, 0.9), (0.9, 1.0))
# Edits a word, so that exact indices spread from about 0.7 to 0.97.
RATES = (0.004, 0.008, 0.012, 0.016, 0.02, 0.024, 0.03, 0.036)
PLANTED_WORDS = range(80, 600)
COPY = "+copy"
Pair = tuple[int, int]


def plant(lines: Sequence[str], count: int, seed: int) -> list[str]:
    """Return the lines of a language's documents with edited copies of some of them at the end.

    An edit replaces a word by another one of the language, drops it, or puts one in; which words,
    by chance. A copy's id is its original's, ``COPY`` and the rate.
    """
    random = np.random.default_rng(seed)
    rows = [json.loads(line) for line in lines]
    fitting = [row for row in rows if len(row["text"].split()) in PLANTED_WORDS]
    words = [word for row in rows for word in row["text"].split()]
    copies: list[dict[str, Any]] = []
    for number in random.permutation(len(fitting))[:count].tolist():
        row = fitting[number]
        rate = RATES[len(copies) % len(RATES)]
        text = edited(row["text"], rate, words, random)
        copies.append({**row, "id": f"{row['id']}{COPY}{rate}", "text": text})
    return [*lines, *(json.dumps(row, ensure_ascii=False) + "\n" for row in copies)]


def edited(text: str, rate: float, words: Sequence[str], random: np.random.Generator) -> str:
    """Return the text with at least one word changed, and ``rate`` of them on average."""
    parts = re.split(r"(\s+)", text)  # words at even places, white space at odd ones
    places = [place for place in range(0, len(parts), 2) if parts[place]]
    edits = max(1, random.binomial(len(places), rate))
    for place in random.choice(places, edits, replace=False).tolist():
        other = words[int(random.integers(len(words)))]
        parts[place] = (other, "", f"{parts[place]} {other}")[int(random.integers(3))]
    return "".join(parts)


@dataclasses.dataclass(frozen=True)
class Text:
    """All documents as hashed words, in the order of files and lines."""

    ids: list[str]
    word_hash: duplicates.Hashes
    doc_words: duplicates.Numbers

    @classmethod
    def read(cls, folder: Path) -> "Text":
        ids, texts = [], []
        for file in sorted(folder.glob("*.jsonl")):
            for line in file.open(encoding="utf-8"):
                row = json.loads(line)
                # Ids are a language's own.
                ids.append(f"{file.stem}:{row['id']}")
                texts.append(row["text"])
        hashes, sizes = [], []
        for batch in signals.batches(texts):
            hashes.append(batch.word_hash)
            sizes.append(np.diff(batch.doc_words))
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(sizes))])
        return cls(ids, np.concatenate(hashes), offsets)

    def shingles(self) -> list[duplicates.Hashes]:
        """Return each document's different shingles, folded to 32 bits as for a signature."""
        hashes, offsets = duplicates.shingles(self.word_hash, self.doc_words, SETTINGS.shingle)
        folded = hashes >> np.uint64(32)
        return [np.unique(folded[start:end]) for start, end in itertools.pairwise(offsets)]

    def planted(self) -> list[Pair]:
        place = {name: number for number, name in enumerate(self.ids)}
        return [
            (place[name.rpartition(COPY)[0]], number)
            for number, name in enumerate(self.ids)
            if COPY in name
        ]


def pairs_of_ours(text: Text, seed: int) -> set[Pair]:
    """Return every two documents that share a band, as the workbench makes bands."""
    settings = dataclasses.replace(SETTINGS, seed=seed)
    signature = duplicates.signatures(text.word_hash, text.doc_words, settings)
    return sharing(duplicates.band_keys(signature, settings))


def sharing(keys: duplicates.Hashes) -> set[Pair]:
    found: set[Pair] = set()
    for column in keys.T.tolist():
        same = defaultdict(list)
        for number, key in enumerate(column):
            same[key].append(number)
        same.pop(int(duplicates.NO_KEY), None)
        for members in same.values():
            found.update(itertools.combinations(members, 2))
    return found


def minima_of_datasketch(
    shingles: Iterable[duplicates.Hashes], **settings: Any
) -> list["datasketch.MinHash"]:
    import datasketch

    made = []
    for own in shingles:
        one = datasketch.MinHash(num_perm=SETTINGS.permutations, hashfunc=int, **settings)
        one.update_batch(own.tolist())
        made.append(one)
    return made


def pairs_of_datasketch(minima: Sequence["datasketch.MinHash"]) -> set[Pair]:
    """Return every two documents that ``MinHashLSH`` finds for each other."""
    import datasketch

    index = datasketch.MinHashLSH(
        num_perm=SETTINGS.permutations, params=(SETTINGS.bands, SETTINGS.rows)
    )
    filled = [(number, one) for number, one in enumerate(minima) if not one.is_empty()]
    for number, one in filled:
        index.insert(number, one)
    return {
        (other, number) for number, one in filled for other in index.query(one) if other < number
    }


def with_our_permutations(shingles: Iterable[duplicates.Hashes]) -> list["datasketch.MinHash"]:
    """Make datasketch draw the minima that the workbench draws.

    Both permute by a multiplication and a sum modulo 2**32. datasketch mixes the bits of what it
    is given before; it is given what its mixing turns into our shingles.
    """
    permutations = duplicates._permutations(SETTINGS)
    return minima_of_datasketch(
        (unmixed(own.astype(np.uint32)) for own in shingles),
        permutations=np.stack(permutations),
        scheme="affine32",
    )


def unmixed(values: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Undo the finalizer of MurmurHash3 for 32 bits (Appleby 2011), which is a bijection."""
    undo_second, undo_first = (
        np.uint32(pow(factor, -1, 2**32)) for factor in (0xC2B2AE35, 0x85EBCA6B)
    )
    values = (values ^ (values >> np.uint32(16))) * undo_second
    values = values ^ (values >> np.uint32(13)) ^ (values >> np.uint32(26))
    values = values * undo_first
    return values ^ (values >> np.uint32(16))


def chance(jaccard: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how likely it is that two documents share a band: the S-curve."""
    chances: npt.NDArray[np.float64] = 1 - (1 - jaccard**SETTINGS.rows) ** SETTINGS.bands
    return chances


def dropped(pairs: Iterable[Pair]) -> set[int]:
    """Return the documents that are joined to an earlier one, over others too."""
    above: dict[int, int] = {}

    def root(number: int) -> int:
        while number in above:
            number = above[number]
        return number

    for left, right in pairs:
        low, high = sorted((root(left), root(right)))
        if low != high:
            above[high] = low
    return set(above)


def compare(folder: Path) -> dict[str, Any]:
    """Find pairs with both tools under every seed, and count by exact Jaccard index."""
    text = Text.read(folder)
    shingles = text.shingles()
    planted = text.planted()
    ours = {seed: pairs_of_ours(text, seed) for seed in SEEDS}
    theirs = {
        seed: pairs_of_datasketch(minima_of_datasketch(shingles, seed=seed)) for seed in SEEDS
    }
    same = pairs_of_datasketch(with_our_permutations(shingles))
    every = sorted(set(planted).union(*ours.values(), *theirs.values()))
    jaccard = np.array([_jaccard(shingles[left], shingles[right]) for left, right in every])
    first = SEEDS[0]
    # Parted, and from an index up.
    ranges = [*BANDS, *((low, 1.0) for low, _ in BANDS[1:3])]
    return {
        "documents": len(text.ids),
        "planted_pairs": len(planted),
        "natural_pairs": int((jaccard >= BANDS[0][0]).sum())
        - sum(_jaccard(shingles[left], shingles[right]) >= BANDS[0][0] for left, right in planted),
        "seeds": list(SEEDS),
        "same_permutations": {
            "by_both": len(ours[SETTINGS.seed] & same),
            "only_by_ours": len(ours[SETTINGS.seed] - same),
            "only_by_theirs": len(same - ours[SETTINGS.seed]),
        },
        "by_jaccard": [
            _row(low, high, every, jaccard, ours, theirs)
            for low, high in ranges
            if _within(jaccard, low, high).any()
        ],
        "dropped_documents": {
            "ours": len(dropped(ours[first])),
            "theirs": len(dropped(theirs[first])),
            "ours_of_theirs": _mean(_recalls(ours, theirs, dropped)),
            "theirs_of_ours": _mean(_recalls(theirs, ours, dropped)),
            "theirs_of_theirs": _mean(_recalls(theirs, theirs, dropped)),
        },
        "planted": [
            [left, right, round(_jaccard(shingles[left], shingles[right]), 4)]
            for left, right in planted
        ],
    }


def _row(
    low: float,
    high: float,
    every: Sequence[Pair],
    jaccard: npt.NDArray[np.float64],
    ours: Mapping[int, set[Pair]],
    theirs: Mapping[int, set[Pair]],
) -> dict[str, Any]:
    inside = _within(jaccard, low, high)
    pairs = {pair for pair, chosen in zip(every, inside, strict=True) if chosen}
    own = {seed: found & pairs for seed, found in ours.items()}
    other = {seed: found & pairs for seed, found in theirs.items()}
    chances = chance(jaccard[inside])
    return {
        "from": low,
        "to": high,
        "pairs": len(pairs),
        "found_in_theory": _mean(chances),
        "found_by_ours": _mean([len(found) / len(pairs) for found in own.values()]),
        "found_by_theirs": _mean([len(found) / len(pairs) for found in other.values()]),
        # Of pairs that one finds, another finds more than of all: they are the likelier ones.
        "recall_in_theory": round(float((chances**2).sum() / chances.sum()), 4),
        "ours_of_theirs": _mean(_recalls(own, other, set)),
        "theirs_of_ours": _mean(_recalls(other, own, set)),
        "theirs_of_theirs": _mean(_recalls(other, other, set)),
    }


def _within(jaccard: npt.NDArray[np.float64], low: float, high: float) -> npt.NDArray[np.bool_]:
    """Return which indices are in a band; 1 is in the last one."""
    return (jaccard >= low) & ((jaccard < high) | (high == 1.0))


def _recalls(
    found: Mapping[int, set[Pair]], wanted: Mapping[int, set[Pair]], what: Any
) -> Iterator[float]:
    """Yield the recall for every two seeds; with the same tool on both sides, different ones."""
    left = {seed: what(pairs) for seed, pairs in found.items()}
    right = {seed: what(pairs) for seed, pairs in wanted.items()}
    for one, another in itertools.product(SEEDS, SEEDS):
        if found is not wanted or one != another:
            yield len(left[one] & right[another]) / len(right[another])


def _mean(values: Iterable[float]) -> float:
    return round(float(np.mean(list(values))), 4)


def _jaccard(left: duplicates.Hashes, right: duplicates.Hashes) -> float:
    both = len(np.intersect1d(left, right, assume_unique=True))
    return both / (len(left) + len(right) - both)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("report", type=Path, help="what was found, as JSON")
    options = parser.parse_args()
    options.report.write_text(json.dumps(compare(options.text)), encoding="utf-8")


if __name__ == "__main__":
    main()
