import numpy as np

from workbench import packing
from workbench import run as runs
from workbench.sequences import Sequences


def packed(series):
    run = runs.find("pretrain/starter")
    return packing.Pack(runs.root() / packing.CACHE / run.record["happened"]["pack"])


def test_the_mix_is_exact_below_one_sequence(series):
    pack = packed(series)
    shares = {"mlt_Latn": 0.61, "ell_Grek": 0.3, "kat_Geor": 0.09}
    sequences = Sequences(pack, shares, 32, seed=3)
    for drawn in range(1, 300):
        sequences.batch(1)
        for tag, count in sequences.state().items():
            assert abs(count - shares[tag] * drawn) < 1 + 1e-9


def test_an_epoch_sees_every_window_once_and_goes_on_from_its_state(series):
    pack = packed(series)
    first = Sequences(pack, {"mlt_Latn": 1.0}, 32, seed=3)
    windows = len(pack.shard("mlt_Latn", "train").tokens) // 32
    epoch = first.batch(windows)
    assert epoch.shape == (windows, 33)
    assert len(np.unique(epoch, axis=0)) == windows
    state = first.state()
    following = first.batch(5)
    other = Sequences(pack, {"mlt_Latn": 1.0}, 32, seed=3)
    other.restore(state)
    assert np.array_equal(other.batch(5), following)
    different = Sequences(pack, {"mlt_Latn": 1.0}, 32, seed=4)
    assert not np.array_equal(different.batch(windows), epoch)
