"""How one language's documents are laid out in rows of a fixed length to train on.

``cut`` takes a shard as one long text and cuts it wherever a row is full: no position is empty,
but documents are torn apart. ``best_fit`` keeps documents whole that fit into a row, and leaves
some positions empty (Ding et al. 2024, "Fewer Truncations Improve Language Modeling",
arXiv 2404.10830). Either way an epoch shows every row once, in an order of its own.
"""

import bisect
import zlib
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from workbench.loss import IGNORED
from workbench.packing import Shard

Integers = npt.NDArray[np.int64]
Packing = Literal["cut", "best_fit"]


class Layout(Protocol):
    """One language's rows; a row has ``sequence`` inputs and as many targets."""

    rows: int
    """Rows in an epoch."""
    epoch_rows: float
    """Rows in which the text is read once; less than one where the text is shorter than a row."""

    def fill(self, position: int, tokens: Integers, targets: Integers) -> None:
        """Write the row at ``position``, counted over all epochs.

        Args:
            position: 0 is the first row of the first epoch.
            tokens: takes the row's ids, shape ``(sequence + 1,)``.
            targets: takes what each of the first ``sequence`` ids is to predict, or ``IGNORED``,
                shape ``(sequence,)``.
        """

    def facts(self) -> dict[str, Any]:
        """Return rows an epoch, and the shares lost, padded and split.

        ``lost`` is the share of the text's tokens that no row predicts, ``padded`` the share of
        the rows' positions that predict nothing, ``split`` the share of documents that lie in
        more than one row.
        """


def lay_out(
    packing: Packing, shard: Shard, sequence: int, end_token: int, seed: int, tag: str
) -> Layout:
    """Lay out a shard that is not empty; seed and language decide the order of its rows.

    Args:
        packing: ``cut`` or ``best_fit``.
        shard: the language's training text.
        sequence: positions in a row.
        end_token: id of the token that ends every document.
        seed: of the training.
        tag: the language.
    """
    if packing == "cut":
        return Cut(shard, sequence, seed, tag)
    return BestFit(shard, sequence, end_token, seed, tag)


class Cut:
    """Windows of one long text. The rest after the last whole window is never predicted."""

    def __init__(self, shard: Shard, sequence: int, seed: int, tag: str) -> None:
        self._shard, self._sequence = shard, sequence
        self._seed, self._tag = seed, tag
        self.rows = max(1, len(shard.tokens) // sequence)
        self.epoch_rows = min(float(self.rows), len(shard.tokens) / sequence)
        self._order: tuple[int, Integers] = (-1, np.empty(0, dtype=np.int64))

    def fill(self, position: int, tokens: Integers, targets: Integers) -> None:
        """See :meth:`Layout.fill`."""
        epoch, place = divmod(position, self.rows)
        if self._order[0] != epoch:
            self._order = (epoch, _generator(self._seed, self._tag, epoch).permutation(self.rows))
        start = int(self._order[1][place]) * self._sequence
        text = self._shard.tokens
        if start + len(tokens) <= len(text):
            tokens[:] = text[start : start + len(tokens)]
        else:
            # A text shorter than a row, and the last window, go on at the text's beginning.
            tokens[:] = text[np.arange(start, start + len(tokens)) % len(text)]
        targets[:] = tokens[1:]

    def facts(self) -> dict[str, Any]:
        """See :meth:`Layout.facts`."""
        ends = self._shard.ends
        length = len(self._shard.tokens)
        starts = np.concatenate(([0], ends[:-1]))
        # The row that starts at s predicts the tokens from s + 1.
        first, last = (np.maximum(starts, 1) - 1) // self._sequence, (ends - 2) // self._sequence
        return {
            "rows": self.rows,
            "lost": max(0, length - self.rows * self._sequence) / length,
            "padded": 0.0,
            "split": float((last > first).mean()),
        }


class BestFit:
    """Rows of whole documents, each with the end token before it and its own after it.

    A document longer than a row fills whole rows of its own first, each of which knows the token
    before it. What is left of it is packed like a document: that token is repeated before it, as
    an input that is not to be predicted a second time. So every token is predicted once an epoch,
    given the one before it. Which documents of one length share a row with which others, and in
    what order, changes from epoch to epoch; how many rows there are does not.
    """

    def __init__(self, shard: Shard, sequence: int, end_token: int, seed: int, tag: str) -> None:
        self._shard, self._sequence, self._end_token = shard, sequence, end_token
        self._seed, self._tag = seed, tag
        lengths = np.diff(shard.ends, prepend=0)
        starts = shard.ends - lengths
        long = lengths > sequence
        self._split = float(long.mean())
        whole = lengths[long] // sequence  # rows that a long document fills
        number = np.arange(whole.sum()) - np.repeat(np.cumsum(whole) - whole, whole)
        self._whole: Integers = np.repeat(starts[long], whole) + number * sequence
        rest = lengths[long] % sequence
        left = rest > 0
        # What is left of a document begins with the token before it.
        pieces = np.concatenate((starts[~long], (shard.ends[long] - rest - 1)[left]))
        sizes = np.concatenate((lengths[~long], rest[left] + 1))
        order = np.argsort(-sizes, kind="stable")
        self._pieces, self._sizes = pieces[order], sizes[order]
        self._starts_document = np.arange(len(pieces))[order] < (~long).sum()
        self._bins = best_fit(self._sizes, sequence)
        bins = int(self._bins.max()) + 1 if len(self._bins) else 0
        self._firsts = np.concatenate(([0], np.cumsum(np.bincount(self._bins, minlength=bins))))
        self.rows = len(self._whole) + bins
        self.epoch_rows = float(self.rows)
        self._epoch = -1
        self._order = self._members = np.empty(0, dtype=np.int64)

    def fill(self, position: int, tokens: Integers, targets: Integers) -> None:
        """See :meth:`Layout.fill`."""
        epoch, place = divmod(position, self.rows)
        if self._epoch != epoch:
            self._shuffle(epoch)
        row = int(self._order[place])
        text = self._shard.tokens
        if row < len(self._whole):
            start = int(self._whole[row])
            tokens[0] = text[start - 1] if start else self._end_token
            tokens[1:] = text[start : start + self._sequence]
            targets[:] = tokens[1:]
            return
        row -= len(self._whole)
        tokens[0] = self._end_token
        at = 1
        repeated = []
        for piece in self._members[self._firsts[row] : self._firsts[row + 1]].tolist():
            start, size = int(self._pieces[piece]), int(self._sizes[piece])
            tokens[at : at + size] = text[start : start + size]
            if not self._starts_document[piece]:
                repeated.append(at - 1)
            at += size
        targets[:] = tokens[1:]
        targets[repeated] = IGNORED
        tokens[at:] = self._end_token
        targets[at - 1 :] = IGNORED

    def facts(self) -> dict[str, Any]:
        """See :meth:`Layout.facts`."""
        positions = self.rows * self._sequence
        return {
            "rows": self.rows,
            "lost": 0.0,
            "padded": (positions - len(self._shard.tokens)) / positions,
            "split": self._split,
        }

    def _shuffle(self, epoch: int) -> None:
        """Deal the pieces of each size anew among the places of that size, and order the rows."""
        generator = _generator(self._seed, self._tag, epoch)
        self._order = generator.permutation(self.rows)
        dealt = np.lexsort((generator.random(len(self._sizes)), -self._sizes))
        within = np.lexsort((generator.random(len(self._sizes)), self._bins))
        self._members = dealt[within]
        self._epoch = epoch


def best_fit(sizes: Integers, capacity: int) -> Integers:
    """Pack items by Best-Fit-Decreasing: the largest first, each where it leaves least space.

    All items of a size are dealt out at once to all bins with the same space, so that the time
    grows with the number of different sizes and, only inside numpy, with the number of items::

        sizes 6 5 4 3 2, capacity 10 -> bins 0 1 0 1 1

    Args:
        sizes: of each item, from 1 to ``capacity``, shape ``(items,)``.
        capacity: of each bin.

    Returns:
        The bin of each item, counted from 0, shape ``(items,)``.
    """
    order = np.argsort(-sizes, kind="stable")
    kinds, counts = np.unique(sizes, return_counts=True)
    bins = np.empty(len(sizes), dtype=np.int64)  # in the order of size
    by_space: dict[int, list[Integers]] = {}
    spaces: list[int] = []  # those of by_space, smallest first
    opened = at = 0

    def put(numbers: Integers, space: int) -> None:
        if not len(numbers):
            return
        if space not in by_space:
            bisect.insort(spaces, space)
            by_space[space] = []
        by_space[space].append(numbers)

    for size, count in zip(kinds[::-1].tolist(), counts[::-1].tolist(), strict=True):
        while count:
            where = bisect.bisect_left(spaces, size)
            if where < len(spaces):
                space = spaces.pop(where)
                numbers = np.concatenate(by_space.pop(space))
            else:
                space = capacity
                numbers = np.arange(opened, opened - (-count // (capacity // size)))
                opened += len(numbers)
            # The bin that an item went into has the least space now, as long as one more fits.
            each = space // size
            full = min(len(numbers), count // each)
            dealt = np.repeat(numbers[:full], each)
            put(numbers[:full], space - each * size)
            some = count - len(dealt) if full < len(numbers) else 0
            if some:
                dealt = np.concatenate((dealt, np.repeat(numbers[full], some)))
                put(numbers[full : full + 1], space - some * size)
            put(numbers[full + bool(some) :], space)
            bins[at : at + len(dealt)] = dealt
            at += len(dealt)
            count -= len(dealt)
    placed = np.empty_like(bins)
    placed[order] = bins
    return placed


def _generator(seed: int, tag: str, epoch: int) -> np.random.Generator:
    return np.random.default_rng((seed, zlib.crc32(tag.encode()), epoch))
