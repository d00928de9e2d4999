"""Documents that are the same, or nearly: exact duplicates, and near ones by MinHash-LSH.

Two documents resemble each other by the Jaccard index of their shingles, the runs of a few words
that each holds (Broder 1997, "On the resemblance and containment of documents"). Under a random
permutation of all shingles, the chance that two documents have the same smallest one is their
Jaccard index; many permutations make a signature. Cut into bands of a few rows, two signatures
with an equal band name a candidate pair (locality-sensitive hashing: Indyk & Motwani 1998), so
that no document has to be compared with all others.

Here a document is its hashed words. Signatures and band keys are made batch by batch, in any
number of processes; only the clusters look at all documents at once. Every number follows from
the words and the settings: the same on every machine and for every cut into shards.

What it does not do: find a short text within a long one (their Jaccard index is low), or tell
apart documents of the same shingles in another order or number.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.errors import UserError
from workbench.sections import Duplicates

Hashes = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]
Signatures = npt.NDArray[np.uint32]

# A document without shingles has these in place of minima and keys. No other document does: all
# its minima would have to be the largest number there is.
NO_MINIMUM = np.uint32(2**32 - 1)
NO_KEY = np.uint64(2**64 - 1)
# 2**64 divided by the golden ratio: odd, and its powers differ in their high bits.
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
# Shingles of one block and their permuted copy take 256 kB, which a core's own cache holds.
BLOCK_WORDS = 2**15
PAIRS_AT_ONCE = 2**14


def shingles(word_hash: Hashes, doc_words: Numbers, n: int) -> tuple[Hashes, Numbers]:
    """Return a hash of every ``n`` consecutive words that stand in one document.

    ``a b c | d | (no words)`` with ``n=2`` gives ``ab bc | d |``. A document with fewer words has
    one shingle of them all. A shingle that stands twice is returned twice.

    The hash is a polynomial in the words' hashes (Karp & Rabin 1987), mixed with the finalizer of
    SplitMix64 (Steele, Lea & Flood 2014).

    Args:
        word_hash: well-mixed hashes of all words in order, shape ``(words,)``.
        doc_words: where each document's words begin and the last one's end, shape
            ``(documents + 1,)``, the first 0.
        n: words in a shingle.

    Returns:
        Hashes of shape ``(shingles,)`` and offsets of shape ``(documents + 1,)``. They take about
        40 bytes a word while they are made.
    """
    starts, lengths = doc_words[:-1], np.diff(doc_words)
    counts = np.where(lengths > 0, np.maximum(lengths - n + 1, 1), 0)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    # First without regard to where documents end; the number of words goes in as well.
    total = len(word_hash)
    windows = np.full(total, n, dtype=np.uint64)
    for k in range(min(n, total)):
        windows *= MULTIPLIER
        windows[: total - k] += word_hash[k:]
    begins = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], counts)
    hashes = windows[begins]
    short = (lengths > 0) & (lengths < n)
    if short.any():
        start, length = starts[short], lengths[short]
        whole = length.astype(np.uint64)
        for k in range(int(length.max())):
            inside = k < length
            whole[inside] = whole[inside] * MULTIPLIER + word_hash[start[inside] + k]
        hashes[offsets[:-1][short]] = whole
    return _mix(hashes), offsets


def _mix(values: Hashes) -> Hashes:
    """Spread every bit over all 64, in place."""
    values ^= values >> np.uint64(30)
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def signatures(word_hash: Hashes, doc_words: Numbers, settings: Duplicates) -> Signatures:
    """Return every document's smallest shingle under each permutation.

    Shingles are folded to 32 bits and permuted by ``a * h + b`` modulo 2**32 with odd ``a`` (the
    linear permutations of Broder, Charikar, Frieze & Mitzenmacher 1998, with the arithmetic of
    Dietzfelbinger et al. 1997). 64 bits would take twice the time. Two different shingles fold
    into one with a chance of 2**-32, so an estimate is off by about a document's number of
    shingles over 2**32, one in ten thousand even for 400,000.

    Args:
        word_hash: as in :func:`shingles`.
        doc_words: as in :func:`shingles`.
        settings: shingle, bands, rows and seed.

    Returns:
        Shape ``(documents, bands * rows)``, 448 bytes a document by default; all ones for a
        document without words. Besides, only one block of documents, or the longest document, is
        worked on at once.
    """
    factors, shifts = _permutations(settings)
    result = np.full((len(doc_words) - 1, settings.permutations), NO_MINIMUM)
    for first, last in _blocks(doc_words):
        words = word_hash[doc_words[first] : doc_words[last]]
        offsets = doc_words[first : last + 1] - doc_words[first]
        hashes, offsets = shingles(words, offsets, settings.shingle)
        filled = np.flatnonzero(np.diff(offsets))
        if not len(filled):
            continue
        folded = (hashes >> np.uint64(32)).astype(np.uint32)
        permuted = np.empty_like(folded)
        minima = np.empty((settings.permutations, len(filled)), dtype=np.uint32)
        for row, factor, shift in zip(minima, factors, shifts, strict=True):
            np.multiply(folded, factor, out=permuted)
            permuted += shift
            np.minimum.reduceat(permuted, offsets[filled], out=row)
        result[first + filled] = minima.T
    return result


def _permutations(settings: Duplicates) -> tuple[Signatures, Signatures]:
    """Return the factors and the shifts, each of shape ``(permutations,)``.

    Drawn from the raw stream of the generator, which numpy keeps the same for good.
    """
    raw = np.random.PCG64(settings.seed).random_raw(2 * settings.permutations)
    factors, shifts = (raw >> np.uint64(32)).astype(np.uint32).reshape(2, -1)
    return factors | np.uint32(1), shifts


def _blocks(doc_words: Numbers) -> Iterator[tuple[int, int]]:
    """Cut documents into runs of about ``BLOCK_WORDS`` words; a longer one is on its own."""
    first, documents = 0, len(doc_words) - 1
    while first < documents:
        fits = np.searchsorted(doc_words, doc_words[first] + BLOCK_WORDS, side="right") - 1
        last = max(int(fits), first + 1)
        yield first, last
        first = last


def band_keys(signature: Signatures, settings: Duplicates) -> Hashes:
    """Return one hash for each band of each signature, shape ``(documents, bands)``.

    The key is a polynomial in the band's minima. Two different bands share one with a chance of
    about 2**-64: hardly once in all pairs of a hundred million documents. A document without
    shingles has keys that :func:`clusters` passes over.
    """
    if signature.shape[1:] != (settings.permutations,):
        raise UserError(
            f"signatures of shape {signature.shape} are not of {settings.bands} bands with "
            f"{settings.rows} rows"
        )
    bands = signature.reshape(-1, settings.bands, settings.rows)
    keys = np.zeros(bands.shape[:2], dtype=np.uint64)
    for row in range(settings.rows):
        keys *= MULTIPLIER
        keys += bands[:, :, row]
    keys[(signature == NO_MINIMUM).all(axis=1)] = NO_KEY
    return keys


def clusters(
    band_keys: Hashes | Sequence[Hashes],
    signatures: Signatures | Sequence[Signatures] | None = None,
    threshold: float | None = None,
    groups: Numbers | None = None,
) -> Numbers:
    """Return each document's cluster, named by the lowest document number in it.

    Documents are numbered through all shards. Two that share a band are joined, and whatever is
    joined to either of them is joined to both: A and C of one cluster may have little in common
    if B resembles both. A document that resembles no other is a cluster of its own, so the
    documents to drop are those whose cluster is not their own number.

    One band is sorted at a time. Memory is about 40 bytes a document, however long the texts and
    however many the bands, and up to 90 if nearly every document shares a band with another. What
    the arguments hold comes on top, but nothing if they are memory-mapped.

    Args:
        band_keys: shape ``(documents, bands)``, or a sequence of shards, each of that shape.
        signatures: cut into as many documents; needed with ``threshold`` only.
        threshold: join two documents only if the Jaccard index that their signatures estimate
            is at least this. Of those that share a band each is compared with the first and with
            its predecessor, not with all: work stays linear, and what only another pair would
            show is lost. Clusters may then depend on the order of documents.
        groups: a number for each document, shape ``(documents,)``, such as its language's; two
            documents of different groups are then never in one cluster.

    Returns:
        Shape ``(documents,)``.

    Raises:
        UserError: shards differ in their bands or permutations, the threshold is no Jaccard index
            or comes without signatures, or these are not of the same documents.
    """
    keys = _Rows(band_keys, "band keys")
    rows = _Rows(signatures, "signatures") if signatures is not None else None
    if threshold is not None:
        if not 0 <= threshold <= 1:
            raise UserError(f"threshold must be from 0 to 1, it is {threshold}")
        if rows is None:
            raise UserError("a threshold needs the signatures, not the band keys alone")
        if len(rows) != len(keys):
            raise UserError(f"signatures of {len(rows)} documents, band keys of {len(keys)}")
    cluster = np.arange(len(keys))
    for band in range(keys.width):
        column = keys.column(band)
        column = column if groups is None else in_groups(column, groups)
        first, previous, document = _sharing(column)
        if threshold is None or rows is None:
            _join(cluster, first, document)
        else:
            for other in (first, previous):
                apart = np.flatnonzero(cluster[other] != cluster[document])
                kept = _resembling(rows, other[apart], document[apart], threshold)
                _join(cluster, other[apart][kept], document[apart][kept])
    return cluster


class _Rows:
    """Shards read as one table, without making one of them."""

    def __init__(self, shards: npt.NDArray[Any] | Sequence[npt.NDArray[Any]], what: str) -> None:
        self._shards = [shards] if isinstance(shards, np.ndarray) else list(shards)
        widths = [shard.shape[1] for shard in self._shards]
        for number, width in enumerate(widths):
            if width != widths[0]:
                raise UserError(
                    f"{what}: shard {number} has {width} columns, shard 0 has {widths[0]}; "
                    "all must be made with the same settings"
                )
        self.width = widths[0] if widths else 0
        self._starts = np.cumsum([0, *(len(shard) for shard in self._shards)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def column(self, number: int) -> npt.NDArray[Any]:
        return np.concatenate([shard[:, number] for shard in self._shards])

    def __getitem__(self, documents: Numbers) -> npt.NDArray[Any]:
        found = np.empty((len(documents), self.width), dtype=self._shards[0].dtype)
        where = np.searchsorted(self._starts, documents, side="right") - 1
        for number in np.unique(where):
            here = where == number
            found[here] = self._shards[number][documents[here] - self._starts[number]]
        return found


def _sharing(keys: Hashes) -> tuple[Numbers, Numbers, Numbers]:
    """Return every document whose key an earlier document has.

    Returns:
        The first document with that key, the last one before, and the document itself; each of
        shape ``(found,)``.
    """
    order = keys.argsort()
    keys = keys[order]
    equal = np.zeros(len(keys) + 1, dtype=np.bool_)  # position n: keys n - 1 and n are equal
    np.equal(keys[1:], keys[:-1], out=equal[1:-1])
    equal[1:] &= keys != NO_KEY
    shared = equal[1:] | equal[:-1]
    document, keys = order[shared], keys[shared]
    # The quick sort above leaves equal keys in any order.
    document = document[np.lexsort((document, keys))]
    again = equal[:-1][shared]
    begins = np.maximum.accumulate(np.where(again, 0, np.arange(len(again))))
    return document[begins[again]], document[np.flatnonzero(again) - 1], document[again]


def _resembling(
    rows: _Rows, left: Numbers, right: Numbers, threshold: float
) -> npt.NDArray[np.bool_]:
    kept = np.zeros(len(left), dtype=np.bool_)
    for start in range(0, len(left), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        kept[part] = similarity(rows[left[part]], rows[right[part]])[0] >= threshold
    return kept


def _join(cluster: Numbers, left: Numbers, right: Numbers) -> None:
    """Join clusters over the edges ``left``-``right``, in place.

    Every cluster that has a lower neighbour is hung below the lowest one, all at once; then each
    document jumps to its parent's parent until all point at a root (Shiloach & Vishkin 1982).
    """
    while True:
        left, right = cluster[left], cluster[right]
        apart = left != right
        if not apart.any():
            return
        left, right = left[apart], right[apart]
        np.minimum.at(cluster, np.maximum(left, right), np.minimum(left, right))
        while ((above := cluster[cluster]) != cluster).any():
            cluster[:] = above


def similarity(
    signature_a: Signatures, signature_b: Signatures
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Estimate the Jaccard index by the share of equal minima.

    The estimate of a candidate pair is a little high: it was chosen for an equal band.

    Args:
        signature_a: shape ``(..., permutations)``.
        signature_b: the same, or what broadcasts to it.

    Returns:
        The estimate ``j`` and its standard error ``sqrt(j * (1 - j) / permutations)``, at most
        0.047 for the default settings, each of shape ``(...)``; not a number where neither
        document has shingles.
    """
    nothing = ((signature_a == NO_MINIMUM) & (signature_b == NO_MINIMUM)).all(axis=-1)
    jaccard = np.where(nothing, np.nan, (signature_a == signature_b).mean(axis=-1))
    return jaccard, np.sqrt(jaccard * (1 - jaccard) / np.shape(signature_a)[-1])


def exact(text_hashes: Hashes) -> Numbers:
    """Return the first document with the same hash for each document, shape ``(documents,)``.

    ``[7, 3, 7]`` gives ``[0, 1, 0]``. What counts as the same text is decided by who hashes it.
    """
    _, first, which = np.unique(text_hashes, return_index=True, return_inverse=True)
    return first[which].astype(np.int64)


def in_groups(hashes: Hashes, groups: Numbers) -> Hashes:
    """Return hashes that are equal only where both the hash and the group are; same shape."""
    told = hashes ^ _mix(groups.astype(np.uint64) + np.uint64(1))
    return np.where(hashes == NO_KEY, NO_KEY, told)


def largest(cluster: Numbers, n: int) -> list[tuple[int, Numbers]]:
    """Return the ``n`` largest clusters of more than one document, each with its members.

    Of two that are equally large the one with the lower number comes first.
    """
    names, sizes = np.unique(cluster, return_counts=True)
    names, sizes = names[sizes > 1], sizes[sizes > 1]
    chosen = names[np.argsort(-sizes, kind="stable")[:n]]
    return [(int(name), np.flatnonzero(cluster == name)) for name in chosen]
