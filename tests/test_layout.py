import numpy as np
import pytest

from workbench import layout
from workbench.loss import IGNORED
from workbench.packing import Shard

END = 0


def shard_of(lengths):
    """Return documents of so many tokens, all of them different, each with its end token."""
    tokens, first = [], 1
    for length in lengths:
        tokens += [*range(first, first + length), END]
        first += length
    ends = np.cumsum([length + 1 for length in lengths])
    return Shard(np.array(tokens, dtype=np.uint16), ends, np.array(lengths))


def rows_of(text, sequence, positions):
    tokens = np.full((len(positions), sequence + 1), -1, dtype=np.int64)
    targets = np.full((len(positions), sequence), -1, dtype=np.int64)
    for row, position in enumerate(positions):
        text.fill(position, tokens[row], targets[row])
    return tokens, targets


def best_fit_slowly(sizes, capacity):
    """Best-Fit-Decreasing as it is defined; return what each bin has left, sorted."""
    left = []
    for size in sorted(sizes, reverse=True):
        fitting = [(space, number) for number, space in enumerate(left) if space >= size]
        if fitting:
            left[min(fitting)[1]] -= size
        else:
            left.append(capacity - size)
    return sorted(left)


def lengths_at_random(generator, sequence):
    count = int(generator.integers(1, 60))
    return generator.integers(0, generator.integers(1, 3 * sequence + 2), count).tolist()


@pytest.mark.parametrize(
    ("sizes", "capacity", "bins"),
    [
        # 6 opens bin 0, 5 bin 1; 4 fills bin 0; 3 and 2 fill bin 1: nothing is empty.
        ([6, 5, 4, 3, 2], 10, [0, 1, 0, 1, 1]),
        ([2, 3, 4, 5, 6], 10, [1, 1, 0, 1, 0]),
        # 3 fits into both, and leaves less space beside 7; 2 then only fits beside 6.
        ([7, 6, 3, 2], 10, [0, 1, 0, 1]),
        # Where items of a size fit several times, they share a bin: 4 + 4, then 4 alone with 2 + 2.
        ([4, 4, 4, 2, 2], 8, [0, 0, 1, 1, 1]),
        # The well-known case that it does not solve: 4 4 2 | 3 3 | 2 of three, two would do.
        ([4, 4, 2, 3, 3, 2, 2], 10, [0, 0, 0, 1, 1, 1, 1]),
        ([5], 5, [0]),
        ([], 5, []),
    ],
)
def test_best_fit_by_hand(sizes, capacity, bins):
    assert layout.best_fit(np.array(sizes, dtype=np.int64), capacity).tolist() == bins


def test_best_fit_at_once_is_best_fit_one_by_one():
    generator = np.random.default_rng(1)
    for _ in range(150):
        capacity = int(generator.integers(1, 60))
        sizes = generator.integers(1, capacity + 1, int(generator.integers(1, 150)))
        bins = layout.best_fit(sizes, capacity)
        left = capacity - np.bincount(bins, weights=sizes)
        assert sorted(left.tolist()) == best_fit_slowly(sizes.tolist(), capacity)


def test_whole_documents_share_a_row_by_hand():
    # With their end tokens 3, 5, 2 and 14 long: two rows of 5 for the last, and a row for the rest
    # of 4 behind the token before it; 5 alone; 3 + 2 together.
    text = layout.BestFit(shard_of([2, 4, 1, 13]), 5, END, seed=1, tag="mlt_Latn")
    assert text.rows == 5
    tokens, targets = rows_of(text, 5, range(5))
    found = {tuple(row): tuple(wanted) for row, wanted in zip(tokens, targets, strict=True)}
    no = IGNORED
    pair = {
        (END, 1, 2, END, 7, END): (1, 2, END, 7, END),
        (END, 7, END, 1, 2, END): (7, END, 1, 2, END),
    }
    assert len(found.keys() & pair.keys()) == 1
    first = next(iter(found.keys() & pair.keys()))
    assert found == {
        first: pair[first],
        (END, 3, 4, 5, 6, END): (3, 4, 5, 6, END),
        (END, 8, 9, 10, 11, 12): (8, 9, 10, 11, 12),
        (12, 13, 14, 15, 16, 17): (13, 14, 15, 16, 17),
        (END, 17, 18, 19, 20, END): (no, 18, 19, 20, END),
    }
    assert text.facts() == {"rows": 5, "lost": 0.0, "padded": 1 / 25, "split": 1 / 4}


@pytest.mark.parametrize("seed", range(8))
def test_every_token_is_predicted_once_an_epoch_given_the_one_before_it(seed):
    generator = np.random.default_rng(seed)
    for _ in range(12):
        sequence = int(generator.integers(2, 30))
        lengths = lengths_at_random(generator, sequence)
        shard = shard_of(lengths)
        text = layout.BestFit(shard, sequence, END, seed, "fin_Latn")
        flat = shard.tokens.astype(np.int64)
        expected = sorted(zip(np.r_[END, flat[:-1]].tolist(), flat.tolist(), strict=True))
        for epoch in range(2):
            positions = range(epoch * text.rows, (epoch + 1) * text.rows)
            tokens, targets = rows_of(text, sequence, positions)
            counts = targets != IGNORED
            pairs = zip(tokens[:, :-1][counts].tolist(), targets[counts].tolist(), strict=True)
            assert sorted(pairs) == expected
            # What is predicted is what comes next, and nothing was left as it was before.
            assert np.array_equal(tokens[:, 1:][counts], targets[counts])
            assert tokens.min() >= 0
            assert text.facts()["padded"] == pytest.approx(1 - counts.mean())
            # A document that fits into a row lies in one, end to end.
            inside = [row.tolist() for row in tokens]
            for number, length in enumerate(lengths):
                if 0 < length < sequence:
                    words = [END, *shard.document(number).tolist(), END]
                    assert any(
                        row[at : at + len(words)] == words
                        for row in inside
                        for at in range(len(row) - len(words) + 1)
                    )


def test_an_epoch_is_shuffled_by_seed_language_and_number_alone():
    shard = shard_of([3, 7, 2, 2, 5, 4, 4, 4, 20, 1, 3])

    def drawn(kind, seed, tag, epoch):
        text = layout.lay_out(kind, shard, 8, END, seed, tag)
        return rows_of(text, 8, range(epoch * text.rows, (epoch + 1) * text.rows))[0].tolist()

    for kind in ("cut", "best_fit"):
        first = drawn(kind, 1, "mlt_Latn", 0)
        assert drawn(kind, 1, "mlt_Latn", 0) == first
        for other in ((2, "mlt_Latn", 0), (1, "fin_Latn", 0), (1, "mlt_Latn", 1)):
            assert drawn(kind, *other) != first


def test_what_is_left_empty_predicts_nothing():
    text = layout.BestFit(shard_of([2, 1]), 8, END, seed=1, tag="mlt_Latn")
    tokens, targets = rows_of(text, 8, [0])
    assert tokens[0, 5:].tolist() == [END] * 4
    assert targets[0, 5:].tolist() == [IGNORED] * 3
    assert text.facts() == {"rows": 1, "lost": 0.0, "padded": 3 / 8, "split": 0.0}


def test_documents_of_a_length_change_their_company_between_epochs():
    text = layout.BestFit(shard_of([3] * 12), 8, END, 1, "mlt_Latn")

    def companies(epoch):
        tokens, _ = rows_of(text, 8, range(epoch * 6, (epoch + 1) * 6))
        return {frozenset(row.tolist()) for row in tokens}

    assert companies(0) != companies(1)


def test_what_cutting_loses():
    # 23 tokens in rows of 5: four rows predict the tokens from 1 to 20, two after that and the
    # very first are never predicted. Of the documents [0, 8), [8, 10), [10, 23) the first and
    # the last lie in several rows, the second (targets 8 and 9) in one.
    text = layout.Cut(shard_of([7, 1, 12]), 5, seed=1, tag="mlt_Latn")
    assert text.facts() == {"rows": 4, "lost": 3 / 23, "padded": 0.0, "split": 2 / 3}
    tokens, targets = rows_of(text, 5, range(4))
    assert np.array_equal(tokens[:, 1:], targets)
    flat = shard_of([7, 1, 12]).tokens
    assert sorted(targets.flatten().tolist()) == sorted(flat[1:21].tolist())


def test_a_text_shorter_than_a_row_is_read_round_and_counted_so():
    text = layout.Cut(shard_of([2]), 8, seed=1, tag="mlt_Latn")
    tokens, _ = rows_of(text, 8, [0])
    assert tokens[0].tolist() == [1, 2, END] * 3
    assert (text.rows, text.epoch_rows) == (1, 3 / 8)
    assert text.facts()["lost"] == 0
