from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kflare.errors import DataError, ServingError
from kflare.models.registry import DISK
from kflare.serving import Client, full_disk_probability
from kflare.serving.forecasts.served_forecasts import full_disks
from kflare.serving.messages.replies import check_outputs


def test_full_disk_by_hand():
    assert full_disk_probability([0.5, 0.5]) == 0.75  # 1 - 1/2 * 1/2
    assert full_disk_probability([0.2, 0.5, 0.1]) == pytest.approx(0.64)  # 1 - 0.8 * 0.5 * 0.9
    assert full_disk_probability(np.float32([0.25])) == pytest.approx(0.25, rel=1e-15)
    assert full_disk_probability([0.0, 0.0]) == 0.0


def test_certainty_is_exact():
    assert full_disk_probability([0.3, 1.0, 0.0]) == 1.0


def test_small_probabilities_do_not_vanish():
    # 1 - (1 - 1e-12)^1000 = 1e-9 - 0.4995e-18 + ...; forming 1 - p first would be wrong in the fifth digit.
    assert full_disk_probability(np.full(1000, 1e-12)) == pytest.approx(1e-9 - 4.995e-19, rel=1e-14)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_full_disk_is_at_least_the_largest_and_at_most_the_sum(p):
    disk = full_disk_probability(p)
    assert max(p) - 1e-15 <= disk <= min(1.0, sum(p) * (1 + 1e-12) + 1e-300)


@pytest.mark.parametrize(
    ("p", "seen"), [([0.1, np.nan], "nan at index 1"), ([1.5], "1.5 at index 0"), ([-0.1], "-0.1")]
)
def test_what_is_no_probability_is_refused(p, seen):
    with pytest.raises(DataError, match=seen):
        full_disk_probability(p)


def test_no_regions_is_not_zero():
    with pytest.raises(DataError, match="no regions"):
        full_disk_probability([])


def test_a_disk_is_no_less_likely_to_flare_than_any_of_its_regions():
    """P_FD by its own calibration is of what such disks did; a quiet week beside one strong region must not hide it."""
    told = {"calibrated": [0.05, 0.6], "calibrated_lower": [0.02, 0.5], "calibrated_upper": [0.1, 0.7]}
    own = SimpleNamespace(outputs={name: np.array(p, np.float32) for name, p in told.items()})
    inputs = {DISK: dict.fromkeys(["combined", "diskC1d"])}
    client = SimpleNamespace(metadata=lambda *_, **__: SimpleNamespace(inputs=inputs), predict=lambda *_, **__: own)
    regions = {"calibrated": [0.3, 0.1, 0.2], "calibrated_lower": [0.2, 0.0, 0.1], "calibrated_upper": [0.4, 0.2, 0.3]}
    times = pd.to_datetime(["2014-03-01", "2014-03-01", "2014-03-02"], utc=True)
    rows = pd.DataFrame({"time": times, "diskC1d": [0.0, 0.0, 9.0]})
    for names in (list(regions), ["calibrated"]):  # a version with an interval of the regions, and one without
        reply = SimpleNamespace(outputs={name: np.array(regions[name]) for name in names}, model="defn-m", version=7)
        disk = full_disks(client, reply, rows)
        assert disk["calibrated"].tolist() == pytest.approx([0.3, 0.6])
        assert disk["calibrated_upper"].tolist() == pytest.approx([0.4 if "calibrated_upper" in names else 0.3, 0.7])
        assert (disk["calibrated_lower"] <= disk["calibrated"]).all()


def test_replies_are_held_to_probabilities():
    outputs = {"scores": np.array([[0.2, 0.8], [0.5, np.nan]]), "grad_cam": np.array([7.0])}
    with pytest.raises(ServingError, match=r"`scores` of cnn-c version 4 .* got nan at index \[1, 1\]"):
        check_outputs(outputs, model="cnn-c", version=4)
    with pytest.raises(ServingError, match=r"`calibrated` .* got -0\.5 at index \[0\]"):
        check_outputs({"calibrated": np.array([-0.5])}, model="cnn-c", version=4)
    with pytest.raises(ServingError, match="must have 3 rows"):
        check_outputs({"probability": np.array([0.5])}, model="cnn-c", version=4, rows=3)


def test_rounding_is_put_right_and_other_outputs_are_left_alone():
    above_one = np.nextafter(np.float32(1), np.float32(2))
    checked = check_outputs(
        {"probability": np.array([above_one]), "imputed": np.array([79])}, model="defn-c", version=1, rows=1
    )
    assert checked["probability"].tolist() == [1.0]
    assert checked["probability"].dtype == np.float32
    assert checked["imputed"].tolist() == [79]


def test_a_magnetogram_of_which_nothing_was_seen_is_told_from_a_broken_model():
    outputs = {"probability": np.array([0.2, np.nan], np.float32), "calibrated": np.array([0.1, np.nan], np.float32)}
    with pytest.raises(
        DataError, match="cnn-c version 4 makes no forecast of magnetogram 2 of 2: no whole disk is seen in it"
    ):
        check_outputs(outputs, model="cnn-c", version=4)
    with pytest.raises(ServingError, match=r"`probability` of defn-c .* must lie in \[0, 1\], got nan at index \[1\]"):
        check_outputs(outputs, model="defn-c", version=4)


def test_a_region_of_which_nothing_was_measured_costs_the_others_nothing():
    usable = np.array([True, False])
    nothing = {"probability": np.array([0.2, np.nan]), "scores": np.array([[0.8, 0.2], [np.nan, np.nan]])}
    checked = check_outputs({**nothing, "usable": usable}, model="defn-c", version=4)
    np.testing.assert_array_equal(checked["probability"], [0.2, np.nan])
    for wrong in ({"usable": ~usable}, {"usable": usable, "probability": np.array([np.nan, np.nan])}):
        with pytest.raises(ServingError, match=r"must lie in \[0, 1\], got nan"):
            check_outputs({**nothing, **wrong}, model="defn-c", version=4)


def test_rows_of_one_time_that_disagree_about_the_disk_are_named():
    """They fell back to a disk of which no flares are known, in silence."""
    asked = []
    inputs = {DISK: dict.fromkeys(["combined", "diskC1d", "diskM7d"])}

    def predict(model, given, **_):
        asked.append(given)
        return SimpleNamespace(outputs={"calibrated": np.float32([0.5, 0.5])})

    client = SimpleNamespace(metadata=lambda *_, **__: SimpleNamespace(inputs=inputs), predict=predict)
    reply = SimpleNamespace(outputs={"calibrated": np.array([0.3, 0.1, 0.2])}, model="defn-m", version=7)
    times = pd.to_datetime(["2014-03-01", "2014-03-01", "2014-03-02"], utc=True)
    counts = {"diskC1d": [1.0, np.nan, np.nan], "diskM7d": [0.0, 2.0, 9.0]}
    rows = pd.DataFrame({"time": times, "region": ["AR 1", "AR 2", "AR 1"], **counts})
    wanted = "`diskM7d` is of the whole disk: rows of 2014-03-01T00:00:00Z must tell the same, got 0 of AR 1 and 2"
    with pytest.raises(DataError, match=wanted):
        full_disks(client, reply, rows)
    assert asked == []
    # What one row of a time tells holds for the disk; what none does stays unknown.
    full_disks(client, reply, rows.assign(diskM7d=2.0))
    assert asked[0]["diskC1d"].tolist() == pytest.approx([1.0, np.nan], nan_ok=True)
    assert asked[0]["diskM7d"].tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    ("name", "value", "seen"),
    [("combined", 1.2, r"`combined` .* must lie in \[0, 1\], or NaN .* got 1.2 at index 1"),
     ("combined", -0.1, "got -0.1 at index 1"),
     ("diskC1d", -1.0, "`diskC1d` .* must be a count of flares, 0 or more, or NaN .*, got -1 at index 1"),
     ("diskM7d", np.inf, "`diskM7d` .* got inf at index 1")],
)  # fmt: skip
def test_a_client_sends_no_impossible_disk(name, value, seen):
    given = {one: np.float32([0.5, np.nan]) for one in ("combined", "diskC1d", "diskM7d")}
    given[name] = np.float32([np.nan, value])
    with Client("127.0.0.1:1") as client, pytest.raises(DataError, match=seen):
        client.predict("defn-m", given, signature=DISK)
