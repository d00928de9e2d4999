"""Laws whose numbers are known are found again, and intervals cover what they should."""

import numpy as np
import pytest

from workbench import scaling
from workbench.scaling import ALL, Documents

COMPUTE = [1e11, 1e12, 1e13]


def power(compute, coefficient=5.0, exponent=0.05):
    return [coefficient * at**-exponent for at in compute]


def documents(per_byte, count=16, spread=0.0, seed=0):
    """Documents of 1000 bytes whose bits per byte lie around ``per_byte``, alike at all sizes."""
    hard = np.random.default_rng(seed).normal(1, spread, count)
    return Documents(
        1000 * np.outer(per_byte, hard / hard.mean()), np.full(count, 1000, dtype=np.int64)
    )


def test_a_line_by_hand():
    """Each hundredfold of compute takes a tenth off: 10, 9, 8.1; the next is 7.29."""
    law = scaling.fit([1e2, 1e4, 1e6], [10, 9, 8.1])
    assert law.form == "power"
    assert float(law.offset) == 0
    assert float(law.exponent) == pytest.approx(-np.log(0.9) / np.log(100))
    assert float(law.at(1e8)) == pytest.approx(7.29)
    assert float(law.at(1)) == pytest.approx(float(law.coefficient)) == pytest.approx(10 / 0.9)


def test_least_squares_of_three_points_that_are_on_no_line():
    """The middle point lies log 2 too high; the line rises by a third of that everywhere."""
    law = scaling.fit([1, np.e, np.e**2], [1, 2 * np.exp(-1), np.exp(-2)])
    assert float(law.exponent) == pytest.approx(1)
    assert float(law.coefficient) == pytest.approx(2 ** (1 / 3))


@pytest.mark.parametrize(
    "known",
    [
        {"offset": 0.8, "coefficient": 30.0, "exponent": 0.12},
        {"offset": 0.05, "coefficient": 6.0, "exponent": 0.05},
    ],
)
def test_an_offset_is_found_again(known):
    compute = [1e11, 1e12, 1e13, 1e14, 1e15]
    points = [known["offset"] + known["coefficient"] * at ** -known["exponent"] for at in compute]
    law = scaling.fit(compute, points)
    assert law.form == "offset"
    for name, value in known.items():
        assert float(getattr(law, name)) == pytest.approx(value, rel=1e-3), name
    later = known["offset"] + known["coefficient"] * 1e17 ** -known["exponent"]
    assert float(law.at(1e17)) == pytest.approx(later, rel=1e-5)


def test_chinchillas_frontier():
    """Hoffmann et al. (arXiv 2203.15556, equations 4 and 10): along the best sizes loss is a law.

    L(N, D) = 1.69 + 406.4 N^-0.34 + 410.7 D^-0.28, and at C = 6 N D FLOPs the best N is
    G (C / 6)^(0.28 / 0.62), so that both terms fall with C to the 0.34 * 0.28 / 0.62.
    """
    compute = np.array([1e18, 1e19, 1e20, 1e21, 1e22])
    best = (0.34 * 406.4 / (0.28 * 410.7)) ** (1 / 0.62)
    weights = best * (compute / 6) ** (0.28 / 0.62)
    tokens = compute / 6 / weights
    law = scaling.fit(list(compute), 1.69 + 406.4 * weights**-0.34 + 410.7 * tokens**-0.28)
    assert float(law.offset) == pytest.approx(1.69, rel=1e-4)
    assert float(law.exponent) == pytest.approx(0.34 * 0.28 / 0.62, rel=1e-4)


def test_four_points_without_an_offset_stay_a_power_law():
    compute = [1e11, 1e12, 1e13, 1e14]
    law = scaling.fit(compute, power(compute))
    assert float(law.at(1e15)) == pytest.approx(power([1e15])[0], rel=2e-3)


def test_one_bad_point_of_many_moves_an_offset_little():
    """Huber's loss: the other seven lie on the law, which goes through them."""
    compute = [10.0**n for n in range(10, 18)]
    points = np.array([0.8 + 30 * at**-0.12 for at in compute])
    points[3] *= 1.2
    law = scaling.fit(compute, points)
    assert float(law.at(1e19)) == pytest.approx(0.8 + 30 * 1e19**-0.12, rel=2e-3)


def test_many_fits_at_once_are_those_of_one_by_one():
    rng = np.random.default_rng(3)
    for compute in (COMPUTE, [*COMPUTE, 1e14]):
        points = np.array(power(compute)) * np.exp(rng.normal(0, 0.01, (5, len(compute))))
        together = scaling.fit(compute, points)
        for number, own in enumerate(points):
            alone = scaling.fit(compute, own)
            assert float(alone.exponent) == pytest.approx(together.exponent[number])
            assert float(alone.at(1e15)) == pytest.approx(together.at(1e15)[number])


def test_a_prediction_and_how_it_came_out():
    measured = {
        "mlt_Latn": documents(power([*COMPUTE, 1e14], 5.0, 0.05)),
        "fin_Latn": documents(power([*COMPUTE, 1e14], 8.0, 0.07)),
    }
    rungs = {tag: Documents(one.bits[:-1], one.bytes) for tag, one in measured.items()}
    rows = scaling.predict(COMPUTE, 1e14, rungs, 100)
    assert [row["tag"] for row in rows] == ["mlt_Latn", "fin_Latn", ALL]
    assert [row["language"] for row in rows] == ["Maltese", "Finnish", "mean of 2"]
    assert [row["documents"] for row in rows] == [16, 16, 32]
    assert "measured" not in rows[0]
    assert rows[1]["predicted"] == pytest.approx(8 * 1e14**-0.07)
    assert rows[1]["exponent"] == pytest.approx(0.07)
    # Documents that are all alike leave nothing open.
    assert rows[0]["exponent_low"] == pytest.approx(rows[0]["exponent_high"])
    measured["fin_Latn"].bits[-1] *= 1.1
    after = scaling.compare(rows, COMPUTE, 1e14, measured, 100)
    assert after[0]["error_percent"] == pytest.approx(0, abs=1e-9)
    assert after[1]["error_percent"] == pytest.approx(10)
    assert (after[1]["error_low"], after[1]["error_high"]) == pytest.approx((10, 10))
    assert after[1]["within"] is False
    assert after[1]["predicted"] == rows[1]["predicted"], "what was said before stays"


def test_one_document_gives_no_interval_and_no_verdict():
    measured = {"mlt_Latn": documents(power([*COMPUTE, 1e14]), count=1)}
    rungs = {tag: Documents(one.bits[:-1], one.bytes) for tag, one in measured.items()}
    for row in scaling.compare(
        scaling.predict(COMPUTE, 1e14, rungs, 100), COMPUTE, 1e14, measured, 100
    ):
        assert row["predicted_low"] is row["exponent_high"] is row["within"] is None
        assert row["measured"] == pytest.approx(power([1e14])[0])


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    """Exponents differ between documents; 95 % intervals over 30 of them, 200 times."""
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        exponents = rng.normal(0.05, 0.01, 30)
        bits = np.array([1000 * 5 * at**-exponents for at in COMPUTE])
        (row, _) = scaling.predict(
            COMPUTE, 1e14, {"mlt_Latn": Documents(bits, np.full(30, 1000))}, 200
        )
        # The expected bits of a document are those of a log-normal variable.
        logs = np.log([*COMPUTE, 1e14])
        means = 5 * np.exp(-0.05 * logs + (0.01 * logs) ** 2 / 2)
        truth = float(scaling.fit(COMPUTE, means[:-1]).at(1e14))
        covered += row["predicted_low"] <= truth <= row["predicted_high"]
    assert 0.88 <= covered / 200 <= 0.99


def test_documents_are_drawn_alike_at_every_size():
    """What makes a document hard moves all points alike: the height of the line, not its slope."""
    measured = {"mlt_Latn": documents(power(COMPUTE), spread=0.3)}
    (row, _) = scaling.predict(COMPUTE, 1e14, measured, 200)
    assert row["exponent_low"] == pytest.approx(row["exponent_high"])
    assert row["predicted_low"] < 0.95 * row["predicted"]
    assert row["predicted_high"] > 1.05 * row["predicted"]


def test_points_and_documents_go_through_a_table_and_back():
    measured = {"mlt_Latn": documents(power(COMPUTE), spread=0.2)}
    about = [{"size": size, "flops": at} for size, at in zip("abc", COMPUTE, strict=True)]
    points = scaling.points(about, measured, 100)
    assert [(row["size"], row["tag"]) for row in points] == [
        (size, tag) for size in "abc" for tag in ("mlt_Latn", ALL)
    ]
    assert points[0]["bits_per_byte_low"] < points[0]["bits_per_byte"]
    one = measured["mlt_Latn"]
    table = [
        {"size": size, "tag": "mlt_Latn", "document": n, "bits": float(bits), "bytes": 1000}
        for size, own in zip("abc", one.bits, strict=True)
        for n, bits in enumerate(own)
    ]
    back = scaling.documents(table)["mlt_Latn"]
    assert (back.bits == one.bits).all()
    assert (back.bytes == one.bytes).all()
