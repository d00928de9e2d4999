import json
import threading
from pathlib import Path

import numpy as np
import pytest

from workbench import packing, sequences
from workbench import run as runs
from workbench.errors import UserError
from workbench.loss import IGNORED
from workbench.packing import Shard
from workbench.sequences import Ahead, Feed, Phase

SHARES = {"mlt_Latn": 0.61, "ell_Grek": 0.3, "kat_Geor": 0.09}


class Texts:
    """A pack in memory: every language's documents are numbers of a range of their own."""

    def __init__(self, name, sizes, first=1):
        self.folder, self.facts = Path(name), {"end_token": 0}
        self._shards = {}
        for tag, lengths in sizes.items():
            documents = [
                [*range(first + at * 100, first + at * 100 + n), 0] for at, n in enumerate(lengths)
            ]
            self._shards[tag] = Shard(
                np.array([token for one in documents for token in one], dtype=np.int64),
                np.cumsum([len(one) for one in documents]),
                np.array(lengths),
            )
            first += 100_000

    def shard(self, tag, split):
        nothing = np.empty(0, dtype=np.int64)
        return self._shards.get(tag, Shard(nothing, nothing, nothing))


def texts(name="a", first=1):
    generator = np.random.default_rng(5)
    return Texts(name, {tag: generator.integers(1, 60, 40).tolist() for tag in SHARES}, first)


def language_of(tokens, first=1):
    """Return the number of the language that each row is in."""
    return (np.asarray(tokens).max(axis=1) - first) // 100_000


def curriculum():
    """Two phases of one pack around one of another, with other mixes."""
    one, other = texts(), texts("b", first=1_000_000)
    even = dict.fromkeys(SHARES, 1 / 3)
    return [Phase(one, even, 3), Phase(other, {"ell_Grek": 1.0}, 2), Phase(one, SHARES, 5)]


def all_of(batches):
    return np.concatenate([one.tokens for one in batches])


def packed(series):
    run = runs.find("pretrain/starter")
    return packing.Pack(runs.root() / packing.CACHE / run.record["happened"]["pack"])


def test_the_mix_is_exact_below_one_sequence(series):
    feed = Feed([Phase(packed(series), SHARES, 300)], 32, seed=3)
    for drawn in range(1, 300):
        state = feed.batch(drawn, 1).state
        for tag, count in state["in_phase"].items():
            assert abs(count - SHARES[tag] * drawn) < 1


@pytest.mark.parametrize("kind", ["cut", "best_fit"])
def test_the_mix_is_exact_in_every_phase_from_its_beginning(kind):
    phases = curriculum()
    feed = Feed(phases, 16, 1, kind)
    for begins, phase in zip((0, 3, 5), phases, strict=True):
        counts = np.zeros(3)
        for step in range(begins, begins + phase.steps):
            for row in feed.batch(step, 7).tokens:
                first = 1_000_000 if phase.pack.folder.name == "b" else 1
                counts[language_of([row], first)[0]] += 1
                shares = np.array([phase.shares.get(tag, 0) for tag in SHARES])
                assert np.abs(counts - shares * counts.sum()).max() < 1
        assert counts.sum() == 7 * phase.steps


def test_an_epoch_sees_every_window_once_and_goes_on_from_its_state(series):
    pack = packed(series)

    def feed(seed):
        return Feed([Phase(pack, {"mlt_Latn": 1.0}, 100)], 32, seed)

    first = feed(3)
    windows = len(pack.shard("mlt_Latn", "train").tokens) // 32
    epoch = first.batch(0, windows)
    assert epoch.tokens.shape == (windows, 33)
    assert np.array_equal(epoch.targets, epoch.tokens[:, 1:])
    assert len(np.unique(epoch.tokens, axis=0)) == windows
    assert first.epochs() == {"mlt_Latn": 1.0}
    following = first.batch(1, 5)
    other = feed(3)
    other.restore(json.loads(json.dumps(epoch.state)))
    assert np.array_equal(other.batch(1, 5).tokens, following.tokens)
    assert not np.array_equal(feed(4).batch(0, windows).tokens, epoch.tokens)


@pytest.mark.parametrize("kind", ["cut", "best_fit"])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_all_ranks_together_read_what_one_would(kind, ranks):
    alone = Feed(curriculum(), 16, 1, kind)
    own = [Feed(curriculum(), 16, 1, kind) for _ in range(ranks)]
    for step in range(10):
        whole = alone.batch(step, 12)
        each = 12 // ranks
        parts = [
            feed.batch(step, 12, slice(rank * each, (rank + 1) * each))
            for rank, feed in enumerate(own)
        ]
        for name in ("tokens", "targets"):
            assert np.array_equal(
                np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name)
            )
        assert all(part.state == whole.state for part in parts)


def test_a_phase_goes_on_in_the_text_of_an_earlier_one():
    one = texts()
    windows = len(one.shard("mlt_Latn", "train").tokens) // 16
    maltese = {"mlt_Latn": 1.0}
    phases = [Phase(one, maltese, 1), Phase(texts("b"), maltese, 1), Phase(one, maltese, 1)]
    feed = Feed(phases, 16, seed=1)
    first = feed.batch(0, windows // 2)
    feed.batch(1, 3)
    last = feed.batch(2, windows - windows // 2)
    assert len(np.unique(all_of([first, last]), axis=0)) == windows
    assert last.state["drawn"] == {"a": {"mlt_Latn": windows}, "b": {"mlt_Latn": 3}}
    again = len(texts().shard("mlt_Latn", "train").tokens) // 16
    assert feed.epochs() == {"mlt_Latn": pytest.approx(1 + 3 / again)}
    assert feed.planned([windows // 2, 3, windows - windows // 2])[1] == {
        "mlt_Latn": pytest.approx(3 / again)
    }


def test_the_facts_say_what_a_phase_loses_and_pads():
    feed = Feed(curriculum(), 16, 1, "best_fit")
    facts = feed.facts()
    assert [(one["begins"], one["steps"], one["pack"]) for one in facts["phases"]] == [
        (0, 3, "a"), (3, 2, "b"), (5, 5, "a"),
    ]  # fmt: skip
    last = facts["phases"][2]
    assert last["padded"] == pytest.approx(
        sum(SHARES[tag] * one["padded"] for tag, one in last["languages"].items())
    )
    assert last["lost"] == 0
    # One epoch of Greek, which is all that the second phase reads.
    greek = facts["phases"][1]["languages"]["ell_Grek"]
    feed.batch(0, 1)
    targets = feed.batch(3, greek["rows"]).targets
    assert (targets == IGNORED).mean() == pytest.approx(greek["padded"])
    cut = Feed(curriculum(), 16, 1, "cut").facts()["phases"][0]
    assert (cut["padded"], 0 < cut["lost"] < 0.03) == (0, True)
    assert json.loads(json.dumps(facts)) == facts


def test_languages_come_in_the_registrys_order_and_need_text():
    phases = [Phase(texts(), {tag: SHARES[tag] for tag in reversed(SHARES)}, 1)]
    feed = Feed([*phases, Phase(texts("b"), {"ell_Grek": 1.0}, 1)], 16, 1)
    assert set(feed.tags) == set(SHARES)
    assert feed.tags == Feed(curriculum(), 16, 1).tags
    with pytest.raises(UserError, match=r"no training text in Finnish \(fin_Latn\)"):
        Feed([Phase(texts(), {"fin_Latn": 1.0}, 1)], 16, 1)
    with pytest.raises(UserError, match="no training text in the chosen languages"):
        Feed([Phase(texts(), {"mlt_Latn": 0.0}, 1)], 16, 1)


@pytest.mark.parametrize("depth", [1, 2, 9])
@pytest.mark.parametrize("kind", ["cut", "best_fit"])
def test_prepared_ahead_is_the_same_and_goes_on_from_the_middle(depth, kind):
    feed = Feed(curriculum(), 16, 1, kind)
    expected = [feed.batch(step, 6, slice(2, 4)) for step in range(10) for _ in range(3)]
    own = slice(2, 4)
    found = []
    feed = Feed(curriculum(), 16, 1, kind)
    with Ahead(feed, range(10), 3, 6, own, depth) as ahead:
        for batch in ahead:
            found.append(batch)
            if len(found) == 12:
                break
        assert ahead.state == expected[11].state
        assert ahead.waited >= 0
    # However much was prepared, the feed stands behind what was handed over.
    assert feed.state() == expected[11].state
    other = Feed(curriculum(), 16, 1, kind)
    other.restore(json.loads(json.dumps(found[-1].state)))
    with Ahead(other, range(4, 10), 3, 6, own, depth) as ahead:
        found += ahead
        with pytest.raises(StopIteration):
            next(ahead)
    assert len(found) == 30
    for one, wanted in zip(found, expected, strict=True):
        assert np.array_equal(one.tokens, wanted.tokens)
        assert np.array_equal(one.targets, wanted.targets)
        assert one.state == wanted.state
    assert other.state() == expected[-1].state
    assert not any(thread.name == "batches" for thread in threading.enumerate())


def test_a_fault_in_the_thread_comes_where_the_batch_would_have(monkeypatch):
    feed = Feed(curriculum(), 16, 1)
    real = sequences.Feed.batch

    def breaks(self, step, *rest):
        if step == 2:
            raise OSError(5, "the disk has gone")
        return real(self, step, *rest)

    monkeypatch.setattr(sequences.Feed, "batch", breaks)
    with Ahead(feed, range(5), 1, 4, slice(None)) as ahead:
        assert [len(next(ahead).tokens) for _ in range(2)] == [4, 4]
        for _ in range(2):
            with pytest.raises(OSError, match="the disk has gone"):
                next(ahead)
    assert sum(feed.state()["in_phase"].values()) == 8


def test_leaving_by_an_exception_ends_the_thread():
    feed = Feed(curriculum(), 16, 1)
    with pytest.raises(KeyboardInterrupt), Ahead(feed, range(5), 1, 4, slice(None), 1) as ahead:
        next(ahead)
        raise KeyboardInterrupt
    assert not any(thread.name == "batches" for thread in threading.enumerate())
    assert sum(feed.state()["in_phase"].values()) == 4
