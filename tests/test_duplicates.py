import hashlib
import itertools

import numpy as np
import pytest
from conftest import TAGS, printed
from datasketch import MinHash, MinHashLSH

from workbench import duplicates, passages
from workbench.errors import UserError
from workbench.sections import Duplicates


def hashed(*texts):
    """Word hashes and offsets of texts, as the readers of text hand them over."""
    words = [text.lower().split() for text in texts]
    hashes = [
        int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        for word in itertools.chain.from_iterable(words)
    ]
    return np.array(hashes, dtype=np.uint64), np.cumsum([0, *map(len, words)])


def shingle(text):
    """The hash of a text that is one shingle."""
    (only,), _ = duplicates.shingles(*hashed(text), len(text.split()))
    return only


def keys_of(texts, settings):
    return duplicates.band_keys(duplicates.signatures(*hashed(*texts), settings), settings)


@pytest.fixture(scope="module")
def texts():
    """Passages in three scripts; of each a copy without its last word, or with it doubled."""
    found = []
    for tag in TAGS:
        for sentences in list(passages.read(tag).values())[:12]:
            words = " ".join(sentences).split()
            found += [" ".join(words), " ".join(words[:-1]), " ".join([*words, words[-1]])]
    order = np.random.default_rng(5).permutation(len(found))
    return [found[n] for n in order]


def planted(jaccard, pairs, generator):
    """Pairs of documents of random words; of 20 five-word shingles ``20 * jaccard`` are shared."""
    shared = round(20 * jaccard)
    left = (20 - shared) // 2
    right = 20 - shared - left
    words = generator.integers(0, 2**64, (pairs, 2, shared + 4 + max(left, right)), dtype=np.uint64)
    words[:, 1, : shared + 4] = words[:, 0, : shared + 4]
    lengths = np.tile([shared + 4 + left, shared + 4 + right], pairs)
    documents = zip(words.reshape(-1, words.shape[2]), lengths, strict=True)
    flat = np.concatenate([document[:length] for document, length in documents])
    return flat, np.concatenate(([0], np.cumsum(lengths)))


# Shingles


def test_shingles_by_hand():
    texts = ["il-kelb jiġri malajr", "koira", "", "ο σκύλος", "il-kelb jiġri il-kelb jiġri"]
    hashes, offsets = duplicates.shingles(*hashed(*texts), 2)
    assert offsets.tolist() == [0, 2, 3, 3, 4, 7]
    dog = shingle("il-kelb jiġri")
    expected = [dog, shingle("jiġri malajr"), shingle("koira"), shingle("ο σκύλος")]
    assert hashes.tolist() == [*expected, dog, shingle("jiġri il-kelb"), dog]
    assert hashes.dtype == np.uint64
    # A word and a shingle are told apart by their length, and words by their order.
    assert len(set(hashes.tolist())) == 5


def test_a_shingle_of_one_word_is_a_step_of_splitmix64():
    """Its generator, seeded with 1234567, begins with 6457827717110365317."""
    hashes, _ = duplicates.shingles(np.array([1234567], dtype=np.uint64), np.array([0, 1]), 1)
    assert hashes.tolist() == [6457827717110365317]


def test_a_short_document_is_one_shingle_of_all_its_words():
    hashes, offsets = duplicates.shingles(*hashed("a b c", "a b", "b c", "a b c", "a b c d"), 4)
    assert offsets.tolist() == [0, 1, 2, 3, 4, 5]
    assert hashes[0] == hashes[3]
    assert len(set(hashes.tolist())) == 4
    # A missing word is not the same as a word whose hash is 0.
    words = np.array([5, 0, 5], dtype=np.uint64)
    with_zero, without = duplicates.shingles(words, np.array([0, 2, 3]), 2)[0]
    assert with_zero != without


def test_no_documents_and_no_words():
    none = np.empty(0, dtype=np.uint64)
    for offsets in (np.array([0]), np.array([0, 0, 0])):
        hashes, found = duplicates.shingles(none, offsets, 5)
        assert (len(hashes), found.tolist()) == (0, offsets.tolist())
        signatures = duplicates.signatures(none, offsets, Duplicates())
        assert signatures.shape == (len(offsets) - 1, 112)
        keys = duplicates.band_keys(signatures, Duplicates())
        assert duplicates.clusters(keys).tolist() == list(range(len(offsets) - 1))
    assert duplicates.clusters([]).tolist() == []
    assert duplicates.exact(none).tolist() == []
    assert duplicates.largest(np.empty(0, dtype=np.int64), 3) == []


# Signatures


def test_a_signature_holds_the_smallest_permuted_shingle():
    settings = Duplicates(shingle=2, bands=3, rows=2, seed=7)
    text = "kaksi sanaa kerrallaan ja vielä kaksi sanaa"
    hashes, _ = duplicates.shingles(*hashed(text), 2)
    raw = np.random.PCG64(7).random_raw(12).tolist()
    expected = [
        min((((a >> 32) | 1) * (int(h) >> 32) + (b >> 32)) % 2**32 for h in hashes)
        for a, b in zip(raw[:6], raw[6:], strict=True)
    ]
    assert duplicates.signatures(*hashed(text), settings).tolist() == [expected]


@pytest.mark.parametrize("words", [1, 50, 1000])
def test_signatures_do_not_depend_on_blocks_and_batches(texts, words, monkeypatch):
    texts = ["", *texts[:20], "", "", *texts[20:40], ""]
    whole = duplicates.signatures(*hashed(*texts), Duplicates())
    monkeypatch.setattr(duplicates, "BLOCK_WORDS", words)
    np.testing.assert_array_equal(duplicates.signatures(*hashed(*texts), Duplicates()), whole)
    alone = [duplicates.signatures(*hashed(text), Duplicates()) for text in texts]
    np.testing.assert_array_equal(np.concatenate(alone), whole)


def test_repeated_shingles_and_their_order_change_nothing():
    once, more, turned = duplicates.signatures(
        *hashed("a b c d", "a b c d c a b b", "d c b a"), Duplicates(shingle=1)
    )
    np.testing.assert_array_equal(once, more)
    np.testing.assert_array_equal(once, turned)


def test_similarity_by_hand():
    left = np.array([[1, 2, 3, 4], [1, 2, 3, 4], [2**32 - 1] * 4, [2**32 - 1] * 4], np.uint32)
    right = np.array([[1, 2, 9, 4], [1, 2, 3, 4], [1, 2, 3, 4], [2**32 - 1] * 4], np.uint32)
    jaccard, error = duplicates.similarity(left, right)
    np.testing.assert_allclose(jaccard, [0.75, 1, 0, np.nan])
    # The square root of 0.75 * 0.25 / 4.
    np.testing.assert_allclose(error, [np.sqrt(3) / 8, 0, 0, np.nan])


# Chances


def test_the_chance_of_a_textbook_example():
    """Leskovec, Rajaraman & Ullman, Mining of Massive Datasets, section 3.4.2."""
    settings = Duplicates(bands=20, rows=5)
    chances = [round(settings.chance(s / 10), 4) for s in range(2, 9)]
    assert chances == [0.0064, 0.0475, 0.1860, 0.4701, 0.8019, 0.9748, 0.9996]
    assert Duplicates().threshold == pytest.approx(0.719, abs=5e-4)


@pytest.mark.parametrize("jaccard", [0.5, 0.7, 0.8, 0.9])
def test_planted_pairs_are_found_as_often_as_the_curve_says(jaccard):
    pairs = 4000
    words, offsets = planted(jaccard, pairs, np.random.default_rng(round(100 * jaccard)))
    settings = Duplicates()
    signatures = duplicates.signatures(words, offsets, settings)
    cluster = duplicates.clusters(duplicates.band_keys(signatures, settings))
    found = cluster[1::2] == np.arange(0, 2 * pairs, 2)
    # Nothing else is found: all other words differ.
    assert (cluster[1::2][~found] == np.arange(1, 2 * pairs, 2)[~found]).all()
    assert (cluster[::2] == np.arange(0, 2 * pairs, 2)).all()
    chance = settings.chance(jaccard)
    assert abs(found.mean() - chance) < 4 * np.sqrt(chance * (1 - chance) / pairs)
    estimate, error = duplicates.similarity(signatures[::2], signatures[1::2])
    assert abs(estimate.mean() - jaccard) < 4 * np.sqrt(jaccard * (1 - jaccard) / 112 / pairs)
    # The stated error is the spread that is seen.
    assert estimate.std() == pytest.approx(np.sqrt((error**2).mean()), rel=0.1)


def test_the_same_pairs_as_datasketch(texts):
    """Both are random: pairs that are nearly sure must agree, and estimates within their errors."""
    settings = Duplicates(shingle=3)
    hashes, offsets = duplicates.shingles(*hashed(*texts), settings.shingle)
    sets = [set(hashes[a:b].tolist()) for a, b in itertools.pairwise(offsets)]
    index = MinHashLSH(params=(settings.bands, settings.rows), num_perm=settings.permutations)
    theirs = []
    for number, one in enumerate(sets):
        theirs.append(MinHash(num_perm=settings.permutations, hashfunc=lambda h: h >> 32))
        theirs[number].update_batch(one)
        index.insert(number, theirs[number])
    signatures = duplicates.signatures(*hashed(*texts), settings)
    keys = duplicates.band_keys(signatures, settings)
    compared = 0
    for a, one in enumerate(sets):
        near = set(index.query(theirs[a]))
        for b in range(a + 1, len(sets)):
            true = len(one & sets[b]) / len(one | sets[b])
            ours = (keys[a] == keys[b]).any()
            if true < 0.2:
                assert not ours
                assert b not in near
            if true > 0.92:
                assert ours
                assert b in near
                compared += 1
                for estimate in (
                    duplicates.similarity(signatures[a], signatures[b])[0],
                    theirs[a].jaccard(theirs[b]),
                ):
                    assert abs(estimate - true) < 5 * np.sqrt(true * (1 - true) / 112)
    assert compared > 100


# Clusters


def test_clusters_by_hand():
    """0-3 share the first band, 3-1 the second, 4-5 the first; 6 and 7 have no words."""
    none = 2**64 - 1
    keys = [[5, 1], [6, 2], [7, 3], [5, 2], [8, 9], [8, 4], [none, none], [none, none]]
    cluster = duplicates.clusters(np.array(keys, dtype=np.uint64))
    assert cluster.tolist() == [0, 0, 2, 0, 4, 4, 6, 7]
    # The same key in another band means nothing.
    crossed = np.array([[1, 2], [2, 1]], dtype=np.uint64)
    assert duplicates.clusters(crossed).tolist() == [0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_clusters_are_connected_components(seed):
    """Against a search through the graph; long chains are among them."""
    generator = np.random.default_rng(seed)
    keys = generator.integers(0, 250, (300, 2)).astype(np.uint64)
    keys[:100, 0] = 1000 + generator.permutation(100) // 2
    keys[:100, 1] = 1000 + (keys[:100, 0] * np.uint64(17)) % np.uint64(50)
    expected = np.full(300, -1)
    for start in range(300):
        waiting = [start] if expected[start] < 0 else []
        while waiting:
            one = waiting.pop()
            if expected[one] < 0:
                expected[one] = start
                waiting += np.flatnonzero((keys == keys[one]).any(axis=1)).tolist()
    assert 1 < len(set(expected.tolist())) < 200
    assert duplicates.clusters(keys).tolist() == expected.tolist()


def test_a_chain_is_one_cluster():
    """0-1, 2-3, ... by one band and 1-2, 3-4, ... by the other, in shuffled order."""
    number = np.random.default_rng(3).permutation(5000).astype(np.uint64)
    keys = np.stack([number // np.uint64(2), (number + np.uint64(1)) // np.uint64(2)], axis=1)
    assert (duplicates.clusters(keys) == 0).all()


def test_groups_are_never_joined():
    """0-1-2 are a chain through 1, which is of another group; 3-4 are of one."""
    keys = np.array([[1, 5], [1, 6], [7, 6], [8, 8], [8, 9]], dtype=np.uint64)
    groups = np.array([0, 1, 0, 1, 1])
    assert duplicates.clusters(keys).tolist() == [0, 0, 0, 3, 3]
    assert duplicates.clusters(keys, groups=groups).tolist() == [0, 1, 2, 3, 3]
    nothing = np.full((2, 2), duplicates.NO_KEY)
    assert duplicates.clusters(nothing, groups=np.zeros(2, dtype=int)).tolist() == [0, 1]


def test_hashes_in_groups_by_hand():
    hashes = np.array([3, 3, 3, 4, 4], dtype=np.uint64)
    found = duplicates.in_groups(hashes, np.array([0, 1, 0, 1, 1]))
    assert duplicates.exact(found).tolist() == [0, 1, 0, 3, 3]
    assert hashes.tolist() == [3, 3, 3, 4, 4]


def test_copies_cluster_and_others_do_not(texts):
    cluster = duplicates.clusters(keys_of(["", *texts, "", *texts, ""], Duplicates()))
    count = len(texts)
    assert (cluster[1 : count + 1] == cluster[count + 2 : 2 * count + 2]).all()
    assert cluster[[0, count + 1, -1]].tolist() == [0, count + 1, 2 * count + 2]
    # 60 passages, each with two copies that lack a word or have one more.
    assert len(set(cluster[1 : count + 1].tolist())) == count / 3


@pytest.mark.parametrize("shards", [1, 2, 7])
@pytest.mark.parametrize("threshold", [None, 0.9])
def test_shards_change_nothing(texts, shards, threshold, tmp_path):
    settings = Duplicates()
    signatures = duplicates.signatures(*hashed(*texts), settings)
    keys = duplicates.band_keys(signatures, settings)
    expected = duplicates.clusters(keys, signatures, threshold)
    assert len(np.unique(expected)) < len(texts)

    def cut(table, name):
        mapped = []
        for number, rows in enumerate(np.array_split(table, shards)):
            rows.tofile(tmp_path / f"{name}{number}")
            path = tmp_path / f"{name}{number}"
            mapped.append(np.memmap(path, dtype=table.dtype, mode="r", shape=rows.shape))
        return mapped

    found = duplicates.clusters(cut(keys, "keys"), cut(signatures, "signatures"), threshold)
    np.testing.assert_array_equal(found, expected)


def test_the_order_of_documents_changes_only_their_numbers(texts):
    cluster = duplicates.clusters(keys_of(texts, Duplicates()))
    order = np.random.default_rng(11).permutation(len(texts))
    turned = duplicates.clusters(keys_of([texts[n] for n in order], Duplicates()))
    members = {frozenset(found.tolist()) for _, found in duplicates.largest(cluster, 1000)}
    others = {frozenset(order[found].tolist()) for _, found in duplicates.largest(turned, 1000)}
    assert members == others
    assert len(members) == len(texts) / 3


def test_a_threshold_keeps_only_pairs_that_resemble():
    settings = Duplicates(bands=2, rows=2)
    rows = [[1, 2, 3, 4], [1, 2, 8, 9], [1, 2, 3, 4], [1, 2, 7, 9], [1, 2, 7, 4]]
    signatures = np.array(rows, dtype=np.uint32)
    keys = duplicates.band_keys(signatures, settings)
    assert duplicates.clusters(keys, signatures).tolist() == [0, 0, 0, 0, 0]
    assert duplicates.clusters(keys, signatures, 0.5).tolist() == [0, 0, 0, 0, 0]
    # 4 resembles 0 by three of four, and 3, its predecessor; 1 would only resemble 3.
    assert duplicates.clusters(keys, signatures, 0.75).tolist() == [0, 1, 0, 0, 0]
    assert duplicates.clusters(keys, signatures, 0.8).tolist() == [0, 1, 0, 3, 4]


def test_a_threshold_tests_every_document_against_the_first_and_the_one_before():
    """Against a walk through the documents; each band's key is shared by about 40 of them."""
    settings = Duplicates(bands=4, rows=3)
    generator = np.random.default_rng(8)
    signatures = generator.integers(0, 2, (300, 12)).astype(np.uint32)
    keys = duplicates.band_keys(signatures, settings)
    expected = list(range(300))
    for band in range(settings.bands):
        groups = {}
        for document, key in enumerate(keys[:, band].tolist()):
            before = groups.setdefault(key, [])
            for other in {*before[:1], *before[-1:]}:
                if (signatures[other] == signatures[document]).sum() >= 10:
                    ends = sorted((expected[other], expected[document]))
                    expected = [ends[0] if one == ends[1] else one for one in expected]
            before.append(document)
        assert len(groups) == 2**settings.rows
    assert 50 < len(set(expected)) < 250
    assert duplicates.clusters(keys, signatures, 10 / 12).tolist() == expected


def test_a_threshold_is_the_same_for_pairs_at_once_and_in_parts(texts, monkeypatch):
    settings = Duplicates(shingle=2)
    signatures = duplicates.signatures(*hashed(*texts), settings)
    keys = duplicates.band_keys(signatures, settings)
    whole = duplicates.clusters(keys, signatures, 0.97)
    assert len(np.unique(duplicates.clusters(keys))) < len(np.unique(whole)) < len(texts)
    monkeypatch.setattr(duplicates, "PAIRS_AT_ONCE", 7)
    np.testing.assert_array_equal(duplicates.clusters(keys, signatures, 0.97), whole)


def test_exact_and_largest_by_hand():
    first = duplicates.exact(np.array([7, 3, 7, 9, 3, 7, 2**64 - 1], dtype=np.uint64))
    assert first.tolist() == [0, 1, 0, 3, 1, 0, 6]
    found = duplicates.largest(first, 5)
    assert [(cluster, members.tolist()) for cluster, members in found] == [
        (0, [0, 2, 5]),
        (1, [1, 4]),
    ]
    ties = duplicates.largest(np.array([0, 1, 1, 3, 0, 3]), 2)
    assert [cluster for cluster, _ in ties] == [0, 1]


# The same everywhere

DIGEST = """
import hashlib, sys
import numpy as np
from workbench import duplicates
from workbench.sections import Duplicates
words = np.arange(1, 20001, dtype=np.uint64) % np.uint64(977) * np.uint64(0x9E3779B97F4A7C15)
settings = Duplicates()
offsets = np.arange(0, 20001, 40)
signatures = duplicates.signatures(words, offsets, settings)
keys = duplicates.band_keys(signatures, settings)
digest = hashlib.sha256()
near = duplicates.clusters(keys), duplicates.clusters(keys, signatures, 0.8)
for part in (signatures, keys, *near):
    digest.update(np.ascontiguousarray(part).tobytes())
result = digest.hexdigest()
"""


def test_every_process_finds_the_same():
    here = {}
    exec(DIGEST, here)
    assert all(1 < len(np.unique(cluster)) < 500 for cluster in here["near"])
    for seed in ("0", "4711"):
        there = printed(DIGEST + "print(result)", PYTHONHASHSEED=seed)
        assert there.strip() == here["result"]


def test_another_seed_draws_other_permutations():
    words, offsets = hashed("vier Wörter sind genug")
    one, same, other = (
        duplicates.signatures(words, offsets, Duplicates(seed=seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not (one == other).any()


# Mistakes


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"shingle": 0}, "shingle must be a whole number of at least 1, not 0"),
        ({"bands": -2}, "bands must be a whole number of at least 1, not -2"),
        ({"rows": 2.5}, "rows must be a whole number of at least 1, not 2.5"),
        ({"seed": -1}, "seed must be a whole number of at least 0, not -1"),
    ],
)
def test_wrong_settings_are_told(wrong, told):
    with pytest.raises(UserError, match=told):
        Duplicates(**wrong)


def test_tables_that_do_not_belong_together_are_told():
    keys = np.zeros((3, 14), dtype=np.uint64)
    rows = np.zeros((3, 112), dtype=np.uint32)
    with pytest.raises(UserError, match="band keys: shard 1 has 9 columns, shard 0 has 14"):
        duplicates.clusters([keys, keys[:, :9]])
    with pytest.raises(UserError, match="a threshold needs the signatures"):
        duplicates.clusters(keys, threshold=0.8)
    with pytest.raises(UserError, match="signatures of 2 documents, band keys of 3"):
        duplicates.clusters(keys, rows[:2], 0.8)
    with pytest.raises(UserError, match="threshold must be from 0 to 1, it is 80"):
        duplicates.clusters(keys, rows, 80)
    with pytest.raises(UserError, match=r"shape \(3, 112\) are not of 9 bands with 13 rows"):
        duplicates.band_keys(rows, Duplicates(bands=9, rows=13))
