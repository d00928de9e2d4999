"""Training sequences, drawn from packed shards: the exact mix of languages, the same every time.

Sequences are cut from a shard without regard to documents, so no token is lost or padded; the
price is that a sequence may begin in the middle of a document.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from workbench.errors import UserError
from workbench.packing import Pack


class Sequences:
    """Draws training sequences: exact in the mix, shuffled, repeatable from its state alone.

    The next sequence always comes from the language that is furthest behind its share, so the
    counts never stray from the weights by a whole sequence. Within a language the sequences of an
    epoch come in an order that only the seed and the epoch's number decide.
    """

    def __init__(self, pack_: Pack, shares: dict[str, float], sequence: int, seed: int) -> None:
        self.tags: Sequence[str] = [tag for tag, share in shares.items() if share > 0]
        self._shares = np.array([shares[tag] for tag in self.tags])
        self._shards = [pack_.shard(tag, "train").tokens for tag in self.tags]
        if not self.tags or not any(map(len, self._shards)):
            raise UserError("no training text in the chosen languages")
        self._sequence = sequence
        self._seed = seed
        self._windows = [max(1, len(shard) // sequence) for shard in self._shards]
        self._orders: dict[int, tuple[int, npt.NDArray[np.int64]]] = {}
        self.drawn = np.zeros(len(self.tags), dtype=np.int64)

    def state(self) -> dict[str, int]:
        """Return how many sequences each language has given."""
        return {tag: int(count) for tag, count in zip(self.tags, self.drawn, strict=True)}

    def restore(self, state: dict[str, int]) -> None:
        """Go on from what :meth:`state` returned."""
        self.drawn = np.array([state[tag] for tag in self.tags], dtype=np.int64)

    def epochs(self) -> dict[str, float]:
        """Return how often each language's text has been seen."""
        return {
            tag: float(count / windows)
            for tag, count, windows in zip(self.tags, self.drawn, self._windows, strict=True)
        }

    def batch(self, size: int) -> npt.NDArray[np.int64]:
        """Return the next sequences, each with one more token to predict.

        Returns:
            Token ids of shape ``(size, sequence + 1)``.
        """
        return np.stack([self._next() for _ in range(size)])

    def _next(self) -> npt.NDArray[np.int64]:
        behind = self._shares * (self.drawn.sum() + 1) - self.drawn
        which = int(behind.argmax())
        epoch, position = divmod(int(self.drawn[which]), self._windows[which])
        self.drawn[which] += 1
        if self._orders.get(which, (-1, None))[0] != epoch:
            generator = np.random.default_rng((self._seed, which, epoch))
            self._orders[which] = (epoch, generator.permutation(self._windows[which]))
        start = int(self._orders[which][1][position]) * self._sequence
        shard = self._shards[which]
        # A shard shorter than a sequence, and the last window, go on at the shard's beginning.
        positions = np.arange(start, start + self._sequence + 1) % len(shard)
        return np.asarray(shard[positions], dtype=np.int64)
