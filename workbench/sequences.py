"""Training sequences, drawn from packed shards: the exact mix of languages, the same every time.

A training has one or more phases, each with a mix and a pack of its own. What comes next depends
on nothing but the phases, the seed and how many sequences were drawn before: neither on how many
processes share a batch, nor on how far ahead it was prepared.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from workbench import languages, layout, mixing
from workbench.errors import UserError
from workbench.packing import Pack


@dataclass(frozen=True)
class Phase:
    """A stretch of the training with one mix."""

    pack: Pack
    """What is drawn from."""
    shares: dict[str, float]
    """Each language's share of the sequences."""
    steps: int
    """How long the phase lasts; the last one lasts as long as it is asked."""


@dataclass(frozen=True)
class Batch:
    """Sequences for one forward pass."""

    tokens: npt.NDArray[np.int64]
    """Ids of shape ``(rows, sequence + 1)``; all but the last of a row are the inputs."""
    targets: npt.NDArray[np.int64]
    """What each input is to predict, or ``loss.IGNORED``, shape ``(rows, sequence)``."""
    state: dict[str, Any]
    """The position after this batch, for :meth:`Feed.restore`."""


class Feed:
    """Draws training sequences: exact in the mix, shuffled, repeatable from its state alone.

    Within a phase a language's count never strays from its share of all sequences since the
    phase's beginning by a whole sequence (:class:`mixing.Turns`). Within a language the rows of an
    epoch come in an order that only seed, language and epoch decide; phases that draw from the
    same pack go on in it.

    Args:
        phases: in order.
        sequence: tokens that a sequence predicts.
        seed: of the training.
        packing: how documents are laid out, ``cut`` or ``best_fit``.

    Raises:
        UserError: a phase has no text in the languages that it draws.
    """

    def __init__(
        self, phases: Sequence[Phase], sequence: int, seed: int, packing: layout.Packing = "cut"
    ) -> None:
        self.phases, self._sequence, self._packing = list(phases), sequence, packing
        self._begins = np.cumsum([0, *(phase.steps for phase in phases[:-1])])
        self._tags: list[list[str]] = []
        self._texts: dict[tuple[str, str], layout.Layout] = {}
        for phase in phases:
            tags = [tag for tag in languages.tags() if phase.shares.get(tag, 0) > 0]
            self._tags.append(tags)
            for tag in tags:
                shard = phase.pack.shard(tag, "train")
                if not len(shard.tokens):
                    raise UserError(f"no training text in {languages.get(tag).name} ({tag})")
                key = (_name(phase), tag)
                if key not in self._texts:
                    self._texts[key] = layout.lay_out(
                        packing, shard, sequence, phase.pack.facts["end_token"], seed, tag
                    )
            if not tags:
                raise UserError("no training text in the chosen languages")
        self._drawn = dict.fromkeys(self._texts, 0)
        self._phase = 0
        self._turns = self._new_turns(0)

    @property
    def tags(self) -> list[str]:
        """The languages of all phases, in the registry's order."""
        return [tag for tag in languages.tags() if any(tag in tags for tags in self._tags)]

    def batch(self, step: int, size: int, own: slice = slice(None)) -> Batch:
        """Draw the next ``size`` sequences and return those that ``own`` selects.

        Args:
            step: the optimizer step that they are for, which decides the phase; steps come in
                order, and each may draw several times.
            size: sequences of all processes together.
            own: which of them this process wants; only these are read.
        """
        phase = int(np.searchsorted(self._begins, step, side="right")) - 1
        assert phase >= self._phase, "steps come in order"
        if phase != self._phase:
            self._phase, self._turns = phase, self._new_turns(phase)
        name, tags = _name(self.phases[phase]), self._tags[phase]
        places = []
        for _ in range(size):
            key = (name, tags[self._turns.next()])
            places.append((key, self._drawn[key]))
            self._drawn[key] += 1
        places = places[own]
        tokens = np.empty((len(places), self._sequence + 1), dtype=np.int64)
        targets = np.empty((len(places), self._sequence), dtype=np.int64)
        for row, (key, position) in enumerate(places):
            self._texts[key].fill(position, tokens[row], targets[row])
        return Batch(tokens, targets, self.state())

    def state(self) -> dict[str, Any]:
        """Return the position: sequences drawn by pack and language, and within the phase."""
        drawn: dict[str, dict[str, int]] = {}
        for (name, tag), count in self._drawn.items():
            drawn.setdefault(name, {})[tag] = count
        in_phase = dict(zip(self._tags[self._phase], self._turns.counts, strict=True))
        return {"phase": self._phase, "in_phase": in_phase, "drawn": drawn}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` or a batch stated."""
        self._phase = state["phase"]
        counts = [state["in_phase"][tag] for tag in self._tags[self._phase]]
        self._turns = self._new_turns(self._phase, counts)
        self._drawn = {(name, tag): state["drawn"][name][tag] for name, tag in self._texts}

    def epochs(self) -> dict[str, float]:
        """Return how often each language's text has been read.

        Where a language has text in several packs their epochs are added up: so often at most a
        document has been read that is in all of them, as one of a cleaned pack may be.
        """
        found = dict.fromkeys(self.tags, 0.0)
        for (name, tag), text in self._texts.items():
            found[tag] += self._drawn[name, tag] / text.epoch_rows
        return found

    def planned(self, sequences: Sequence[int]) -> list[dict[str, float]]:
        """Return how often each phase will read each language's text.

        Args:
            sequences: how many each phase draws in all.
        """
        return [
            {
                tag: phase.shares[tag] * count / self._texts[_name(phase), tag].epoch_rows
                for tag in tags
            }
            for phase, tags, count in zip(self.phases, self._tags, sequences, strict=True)
        ]

    def facts(self) -> dict[str, Any]:
        """Return for the record how the text is laid out: shares lost, padded and split.

        Of each phase there are its steps, its pack, and by language the facts of its layout
        (:meth:`layout.Layout.facts`); ``lost`` and ``padded`` of a phase are the means over its
        sequences. ``lost`` is of the text, ``padded`` of the positions.
        """
        phases = []
        for phase, begins, tags in zip(self.phases, self._begins, self._tags, strict=True):
            by_tag = {tag: self._texts[_name(phase), tag].facts() for tag in tags}
            total = sum(phase.shares[tag] for tag in tags)
            means = {
                name: sum(phase.shares[tag] * by_tag[tag][name] for tag in tags) / total
                for name in ("lost", "padded")
            }
            phases.append(
                {
                    "begins": int(begins),
                    "steps": phase.steps,
                    "pack": _name(phase),
                    **means,
                    "languages": by_tag,
                }
            )
        return {"packing": self._packing, "sequence": self._sequence, "phases": phases}

    def _new_turns(self, phase: int, counts: Sequence[int] = ()) -> mixing.Turns:
        shares = self.phases[phase].shares
        return mixing.Turns([shares[tag] for tag in self._tags[phase]], counts)


class Ahead:
    """Prepares the next batches of a feed in a thread, so that whoever trains need not wait.

    A context manager and an iterator over the batches of some steps, in the order and with the
    states that the feed would have given one at a time. While it is open the feed is its own;
    after it the feed stands where the last batch left it that was handed over, not the last one
    prepared. A fault while preparing is raised where the batch would have come.

    Args:
        feed: at the position of the first batch.
        steps: the steps to draw for.
        parts: batches of a step.
        size: sequences of a batch, of all processes together.
        own: which of them this process wants.
        depth: how many batches are kept ready.
    """

    def __init__(
        self, feed: Feed, steps: range, parts: int, size: int, own: slice, depth: int = 4
    ) -> None:
        self._feed, self._steps, self._parts = feed, steps, parts
        self._size, self._own, self._depth = size, own, depth
        self.waited = 0.0
        """Seconds that batches were waited for."""
        self.state = feed.state()
        """The position after the last batch that was handed over."""
        self._ready: deque[Batch] = deque()
        self._changed = threading.Condition()
        self._closed = self._done = False
        self._fault: BaseException | None = None
        # A daemon, so that a disk that never answers does not hold up the end of the process.
        self._thread = threading.Thread(target=self._prepare, name="batches", daemon=True)

    def __enter__(self) -> Self:
        """Begin to prepare."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the thread, and take the feed back to the last batch that was handed over."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        self._ready.clear()
        self._feed.restore(self.state)

    def __iter__(self) -> Iterator[Batch]:
        """Return itself."""
        return self

    def __next__(self) -> Batch:
        """Return the next batch, as soon as it is ready."""
        began = time.monotonic()
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._done or self._closed)
            self.waited += time.monotonic() - began
            if self._closed:
                raise StopIteration
            if self._ready:
                batch = self._ready.popleft()
                self._changed.notify_all()
                self.state = batch.state
                return batch
        if self._fault is not None:
            raise self._fault
        raise StopIteration

    def _prepare(self) -> None:
        try:
            for step in self._steps:
                for _ in range(self._parts):
                    with self._changed:
                        self._changed.wait_for(
                            lambda: len(self._ready) < self._depth or self._closed
                        )
                        if self._closed:
                            return
                    batch = self._feed.batch(step, self._size, self._own)
                    with self._changed:
                        self._ready.append(batch)
                        self._changed.notify_all()
        except BaseException as fault:
            self._fault = fault
        finally:
            with self._changed:
                self._done = True
                self._changed.notify_all()


def _name(phase: Phase) -> str:
    return phase.pack.folder.name
