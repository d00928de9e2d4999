"""Byte-level BPE merges, learned so that the same content costs every language the same.

Plain BPE takes the pair that is most frequent in all text together. Here a pair's frequency is
weighed by language, and the weights follow what a parallel text costs while the vocabulary grows:
whoever pays more than the mean counts more. Parity-aware BPE (Foroutan et al. 2025,
arXiv 2508.04796) lets the language that pays most choose alone, which comes nearer to parity and
takes more tokens in all; weighing all of them keeps pairs that serve several languages. What each
buys at what price is measured in ``benchmarks/tokenizer_parity.py``.

Once a pair has come into being its count only falls, so a ranking of upper bounds that is looked
at lazily gives the exact maximum (as the lazy greedy algorithm of Minoux 1978). Words lie in flat
arrays, and a merge is a handful of numpy calls. Memory is about 40 bytes for each byte of
distinct words, and 70 at its peak.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Two token ids share one 64-bit key: room for a vocabulary of two million.
SHIFT = 21
MASK = (1 << SHIFT) - 1
# Weights are whole numbers of this fraction, so that sums do not depend on their order and the
# merges are the same on every machine.
UNIT = 1024
# The languages are weighed so often while a vocabulary grows.
ROUNDS = 24
# Even the language that pays least keeps a say, and one that pays far too much is heard.
LOWEST = 0.02
EMPHASIS = 4.0
Places = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Learned:
    """Merges in the order in which they were learned."""

    merges: list[tuple[int, int]]
    """Pairs of token ids; the n-th makes the token ``first + n``."""
    costs: dict[str, int]
    """Language to the tokens that its parallel text takes after the last merge."""
    weights: dict[str, float]
    """Language to its weight at the end, 1 for a language that pays the mean."""


def learn(
    words: Mapping[str, Counter[str]],
    parallel: Mapping[str, Counter[str]],
    alphabet: npt.NDArray[np.int32],
    first: int,
    size: int,
    min_frequency: int = 2,
    tolerance: float = 0.03,
    tell: Callable[[int], None] | None = None,
) -> Learned:
    """Learn merges until the vocabulary has ``size`` tokens.

    Args:
        words: language to its words, each with how often it occurs in the training text.
        parallel: language to the words of its version of one and the same text. A language
            without a version keeps the weight 1, a version without words of its language is not
            looked at; with no version at all every word counts alike and the merges are those of
            plain BPE, ties included (``tokenizers.BpeTrainer``).
        alphabet: token id of each of the 256 bytes, shape ``(256,)``.
        first: id of the first merged token.
        size: tokens in the whole vocabulary. There are fewer if no pair is left that occurs
            ``min_frequency`` times.
        min_frequency: how often a pair must stand in the training text.
        tolerance: relative deviation from the mean cost, above 0, at which weights have all but
            reached their limits; smaller is fairer and takes more tokens in all.
        tell: called now and then with the number of merges so far.
    """
    table = _Table(words, parallel, alphabet)
    merges: list[tuple[int, int]] = []
    every = max(64, (size - first) // ROUNDS)
    while first + len(merges) < size:
        if len(merges) % every == 0 or not table.has_candidates:
            table.weigh(tolerance, min_frequency)
        key = table.best(min_frequency)
        if key is None:
            break
        table.merge(key, first + len(merges))
        merges.append((key >> SHIFT, key & MASK))
        if tell is not None and len(merges) % 256 == 0:
            tell(len(merges))
    return Learned(merges, *table.outcome(tolerance))


def weights(costs: npt.NDArray[np.float64], tolerance: float) -> npt.NDArray[np.float64]:
    """Return what a language's text counts for, given what a parallel text costs.

    The Gini coefficient grows with each language's rank among the costs, so its gradient is the
    rank; ``1 + tanh`` of the relative deviation is a smooth rank between 0 and 2. What lies above
    the mean is raised further, so that a single language far outside comes back as well.

    Args:
        costs: tokens by language, shape ``(languages,)``; NaN where unknown, which weighs 1.
        tolerance: see :func:`learn`.
    """
    known = ~np.isnan(costs)
    relative = np.ones_like(costs)
    if not known.any():
        return relative
    relative[known] = costs[known] / costs[known].mean()
    raised = np.maximum(1.0, relative) ** EMPHASIS
    result: npt.NDArray[np.float64] = (1 + np.tanh((relative - 1) / tolerance)) * raised
    return np.maximum(result, LOWEST)


class _Table:
    """Every distinct word of every language, cut into tokens, with links between neighbours."""

    def __init__(
        self,
        words: Mapping[str, Counter[str]],
        parallel: Mapping[str, Counter[str]],
        alphabet: npt.NDArray[np.int32],
    ) -> None:
        self._tags = sorted(words)
        entries: list[bytes] = []
        columns: list[tuple[int, int, int]] = []
        for number, tag in enumerate(self._tags):
            own, same = words[tag], parallel.get(tag, Counter())
            # Sorted, so that the result does not depend on the order of the documents.
            for word in sorted(own.keys() | same.keys()):
                entries.append(word.encode())
                columns.append((number, own.get(word, 0), same.get(word, 0)))
        lengths = np.array([len(entry) for entry in entries], dtype=np.int64)
        letters = np.frombuffer(b"".join(entries), dtype=np.uint8)
        position = np.arange(len(letters), dtype=np.int32)
        ends = np.cumsum(lengths)
        self._symbol = alphabet[letters].astype(np.int32)
        self._next: Places = position + 1
        self._next[ends - 1] = -1
        self._previous: Places = position - 1
        self._previous[ends - lengths] = -1
        lang, count, cost = np.array(columns, dtype=np.int64).reshape(-1, 3).T
        self._lang = np.repeat(lang.astype(np.uint8), lengths)
        self._count = np.repeat(count, lengths)
        self._cost = np.repeat(cost, lengths)
        self._costs = self._by_language(self._cost)
        self._measured = self._costs > 0
        self._scale = self._content()
        self._value = self._count
        # Candidates are pairs of a bound, negative, and a key. Those of the last weighing lie
        # ranked, since most are never looked at; those that came or fell since lie in a heap.
        self._ranked: Iterator[tuple[int, int]] = iter(())
        self._upcoming: tuple[int, int] | None = None
        self._heap: list[tuple[int, int]] = []
        # All places of a pair come into being at once, in the merge that made its younger token.
        # They are here once they were looked at; before, in the groups of the last weighing.
        self._where: dict[int, Places] = {}
        self._keys: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._starts: npt.NDArray[np.int64] = np.zeros(1, dtype=np.int64)
        self._groups: Places = np.empty(0, dtype=np.int32)

    def _by_language(
        self, values: npt.NDArray[np.int64], places: Places | slice = slice(None)
    ) -> npt.NDArray[np.float64]:
        """Return the sum of ``values`` at ``places`` by language, shape ``(languages,)``."""
        lang = self._lang[places]
        # Sums of whole numbers below 2**53, so that floats hold them exactly.
        sums = np.bincount(lang, weights=values[places], minlength=len(self._tags))
        return sums.astype(np.float64, copy=False)

    def _content(self) -> npt.NDArray[np.float64]:
        """Return how much content a byte of each language's text stands for.

        Two megabytes of Greek say about what one of English says; the parallel text tells.
        """
        scale = np.ones(len(self._tags))
        if self._measured.any():
            own = self._by_language(self._count)
            known = self._measured & (own > 0)
            scale[known] = self._costs[known] / own[known]
            # The median, so that a language with next to no text does not lower all others beside
            # those that have no parallel text.
            scale[known] /= np.median(scale[known])
        return scale

    @property
    def has_candidates(self) -> bool:
        return self._upcoming is not None or bool(self._heap)

    def outcome(self, tolerance: float) -> tuple[dict[str, int], dict[str, float]]:
        """Return costs and weights by language, where there is a parallel text."""
        final = self._weights(tolerance)
        measured = [n for n in range(len(self._tags)) if self._measured[n]]
        return (
            {self._tags[n]: int(self._costs[n]) for n in measured},
            {self._tags[n]: round(float(final[n]), 4) for n in measured},
        )

    def _weights(self, tolerance: float) -> npt.NDArray[np.float64]:
        return weights(np.where(self._measured, self._costs, np.nan), tolerance)

    def weigh(self, tolerance: float, min_frequency: int) -> None:
        """Weigh the languages by what they pay now, and rank all pairs anew."""
        if self._measured.any():
            whole = np.maximum(1, np.rint(self._weights(tolerance) * self._scale * UNIT))
            self._value = self._count * whole.astype(np.int64)[self._lang]
        left = np.flatnonzero((self._symbol >= 0) & (self._next >= 0)).astype(np.int32)
        self._where, self._heap = {}, []
        self._ranked, self._upcoming = iter(()), None
        if not len(left):
            return
        self._keys, self._groups, starts = self._grouped(left)
        self._starts = np.append(starts, len(left))
        frequent = np.add.reduceat(self._count[self._groups], starts) >= min_frequency
        bounds = -np.add.reduceat(self._value[self._groups], starts)[frequent]
        keys = self._keys[frequent]
        # Stable: of equal ones the lowest key comes first, as in the heap.
        order = np.argsort(bounds, kind="stable")
        self._ranked = zip(bounds[order].tolist(), keys[order].tolist(), strict=True)
        self._upcoming = next(self._ranked, None)

    def _grouped(self, left: Places) -> tuple[npt.NDArray[np.int64], Places, npt.NDArray[np.int64]]:
        """Group places by the pair that begins there.

        Returns:
            The keys in order, shape ``(groups,)``; the places group by group; where each group
            begins. Within a group places are in no order.
        """
        keys = (self._symbol[left].astype(np.int64) << SHIFT) | self._symbol[self._next[left]]
        order = np.argsort(keys)
        keys = keys[order]
        starts = np.append(0, np.flatnonzero(keys[1:] != keys[:-1]) + 1)
        return keys[starts], left[order], starts

    def best(self, min_frequency: int) -> int | None:
        """Take the pair of the greatest weighted count; ``None`` if there is none."""
        while self.has_candidates:
            bound, key = self._take()
            places = self._places(key)
            value = int(self._value[places].sum())
            if value < -bound:
                heapq.heappush(self._heap, (-value, key))
            elif value and self._count[places].sum() >= min_frequency:
                return key
        return None

    def _take(self) -> tuple[int, int]:
        """Take the candidate of the greatest bound from where it lies."""
        first = self._upcoming
        if first is None or (self._heap and self._heap[0] < first):
            return heapq.heappop(self._heap)
        self._upcoming = next(self._ranked, None)
        return first

    def _places(self, key: int) -> Places:
        """Return where a pair still stands, in order, and forget where it does not any more."""
        places = self._where.get(key)
        if places is None:
            group = int(np.searchsorted(self._keys, key))
            places = np.sort(self._groups[self._starts[group] : self._starts[group + 1]])
        right = self._next[places]
        holds = (
            (self._symbol[places] == key >> SHIFT)
            & (right >= 0)
            & (self._symbol[right] == key & MASK)
        )
        standing: Places = places[holds]
        self._where[key] = standing
        return standing

    def merge(self, key: int, made: int) -> None:
        """Replace the pair that :meth:`best` gave by the token ``made`` wherever it stands."""
        places = self._where.pop(key)
        if key >> SHIFT == key & MASK:
            places = self._without_overlaps(places)
        right = self._next[places]
        after = self._next[right]
        self._symbol[places] = made
        self._symbol[right] = -1
        self._next[places] = after
        followed = after >= 0
        self._previous[after[followed]] = places[followed]
        self._costs -= self._by_language(self._cost, places)
        before = self._previous[places]
        before = before[before >= 0]
        # Where one stands right before another, it is among the places already.
        before = before[self._symbol[before] != made]
        left = np.concatenate([before, places[followed]])
        if not len(left):
            return
        keys, left, starts = self._grouped(left)
        values = np.add.reduceat(self._value[left], starts).tolist()
        ends = np.append(starts[1:], len(left)).tolist()
        for pair, value, start, end in zip(
            keys.tolist(), values, starts.tolist(), ends, strict=True
        ):
            self._where[pair] = np.sort(left[start:end])
            heapq.heappush(self._heap, (-value, pair))

    def _without_overlaps(self, places: Places) -> Places:
        """Of ``aaa`` keep the first ``aa``: merges go from left to right."""
        kept: list[int] = []
        taken = -1
        for place in places.tolist():
            if place == taken:
                taken = -1
                continue
            kept.append(place)
            taken = int(self._next[place])
        return np.array(kept, dtype=np.int32)
