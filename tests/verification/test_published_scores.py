"""The scores that the two papers print, recomputed from their tables, and where paper and arithmetic disagree.

Nishizuka et al. 2021 (Earth Planets Space 73, 64) and Yi et al. 2021 (ApJ 910, 8). A test that is named after a
contradiction records it: the code follows the arithmetic, and the printed number is kept as it stands.
"""

import numpy as np
import pandas as pd
import pytest

from kflare.verification.contingency import ContingencyTable
from kflare.verification.probabilistic import brier_skill_score, gini
from kflare.verification.scores import score_arrays

# Nishizuka et al. 2021, Table 1 (threshold 50 %): TP, FP, FN, TN.
TABLE_1 = {"M": ContingencyTable(963, 4382, 54, 25937), "C": ContingencyTable(4967, 4420, 1171, 20778)}

# Table 2, in operation; (a), ≥M at 50 %, is lost in the text of the paper that we hold.
TABLE_2 = {
    ("M", 45): ContingencyTable(1, 31, 3, 2198),
    ("M", 40): ContingencyTable(2, 34, 2, 2195),
    ("C", 50): ContingencyTable(27, 18, 11, 2177),
    ("C", 45): ContingencyTable(30, 27, 8, 2168),
    ("C", 40): ContingencyTable(32, 34, 6, 2161),
}

# Table 3: accuracy, TSS, FAR, HSS.
TABLE_3 = {
    ("M", 50): (0.99, 0.24, 0.97, 0.06),
    ("M", 45): (0.98, 0.24, 0.97, 0.05),
    ("M", 40): (0.98, 0.48, 0.94, 0.10),
    ("C", 50): (0.99, 0.70, 0.40, 0.64),
    ("C", 45): (0.98, 0.78, 0.47, 0.62),
    ("C", 40): (0.98, 0.83, 0.52, 0.61),
}

# Table 4: TSS of the test years 2013 to 2017.
TABLE_4 = {"M": (0.49, 0.66, 0.77, 0.87, 0.72), "C": (0.53, 0.60, 0.66, 0.56, 0.61)}


def printed_as(values, printed, digits=2):
    """Which values would be printed as this number."""
    half = 0.5 * 10.0**-digits
    return (values >= printed - half - 1e-12) & (values <= printed + half + 1e-12)


def between(low, high):
    """Numbers that cover a printed range, ends included."""
    return np.linspace(low, high, 21)


# ---- Nishizuka et al. 2021 ----


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            "M",
            {
                "accuracy": ".8584", "pod": ".9469", "pofd": ".1445", "tss": ".8024", "far": ".8198", "hss": ".2625",
                "ets": ".1511", "frequency_bias": "5.256", "apss": "-3.362",
            },
        ),
        (
            "C",
            {
                "accuracy": ".8216", "pod": ".8092", "pofd": ".1754", "tss": ".6338", "far": ".4709", "hss": ".5281",
                "ets": ".3588", "frequency_bias": "1.529", "apss": ".0891",
            },
        ),
    ],
)  # fmt: skip
def test_table_1(event, expected):
    scores = TABLE_1[event].scores()
    for name, digits in expected.items():
        assert round(scores[name], len(digits.split(".")[1])) == float(digits), name


def test_table_1_gives_the_tss_of_the_text():
    # Abstract and section 2.3: "TSS = 0.80 for ≥M-class and TSS = 0.63 for ≥C-class".
    assert [round(TABLE_1[event].tss, 2) for event in "MC"] == [0.80, 0.63]


@pytest.mark.parametrize("case", TABLE_2)
def test_table_3_follows_from_table_2(case):
    table = TABLE_2[case]
    assert tuple(round(score, 2) for score in (table.accuracy, table.tss, table.far, table.hss)) == TABLE_3[case]


def test_far_of_table_3_is_the_ratio_not_the_rate():
    # By rate (POFD), ≥C would read 0.01, 0.01 and 0.02 instead of 0.40, 0.47 and 0.52.
    assert [round(TABLE_2["C", percent].pofd, 2) for percent in (50, 45, 40)] == [0.01, 0.01, 0.02]


def test_table_4_means():
    assert np.mean(TABLE_4["M"]) == pytest.approx(0.702)
    assert np.mean(TABLE_4["C"]) == pytest.approx(0.592)


def test_contradiction_abstract_tss_of_084():
    # The abstract gives TSS 0.84 for ≥C at 40 %; text, Table 3 and arithmetic say 0.83. The POD is 0.84.
    table = TABLE_2["C", 40]
    assert round(table.tss, 4) == 0.8266
    assert round(table.pod, 2) == 0.84


def test_contradiction_the_m_flare_was_predicted():
    # Section 4.2: "Operational DeFN did not predict this flare". Table 2 holds hits at 45 % and 40 %, and TSS 0.24 of
    # Table 3 asks for one at 50 % too.
    assert (TABLE_2["M", 45].tp, TABLE_2["M", 40].tp) == (1, 2)
    assert ContingencyTable(0, 28, 4, 2201).tss < 0


def test_contradiction_class_weights_are_not_the_inverse_class_ratio():
    # Section 2.3 prints [1, 50] and [1, 4] as the inverse of the class ratio; the samples of Table 1 give 29.8 and 4.1.
    ratios = [(table.fp + table.tn) / (table.tp + table.fn) for table in TABLE_1.values()]
    assert [round(ratio, 1) for ratio in ratios] == [29.8, 4.1]


def test_contradiction_2016_is_best_for_m_only():
    # Section 4.3: "TSS is largest with ... the 2016 datasets for testing": true for ≥M, second lowest for ≥C.
    assert np.argmax(TABLE_4["M"]) == 3
    assert sorted(TABLE_4["C"]).index(TABLE_4["C"][3]) == 1


def test_contradiction_more_samples_than_issue_times():
    # Every table of the operation holds 2,233 samples; one forecast each 6 h from January 2019 to June 2020
    # (365 + 182 days) gives 2,188. The paper does not say what a sample is.
    assert {table.tp + table.fp + table.fn + table.tn for table in TABLE_2.values()} == {2233}
    assert (365 + 182) * 4 == 2188


def test_contradiction_lost_table_2a():
    # With the 4 events and 2,233 samples of the other two tables, only two tables give Table 3's row for ≥M at 50 %.
    tp, fp = (part.ravel() for part in np.meshgrid(np.arange(5), np.arange(2230), indexing="ij"))
    fn, tn = 4 - tp, 2229 - fp
    scores = score_arrays(tp, fp, fn, tn)
    fits = np.ones(len(tp), bool)
    for name, printed in zip(("accuracy", "tss", "far", "hss"), TABLE_3["M", 50], strict=True):
        fits &= printed_as(scores[name], printed)
    candidates = np.stack([tp, fp, fn, tn], axis=1)[fits].tolist()
    assert candidates == [[1, 28, 3, 2201], [1, 29, 3, 2200]]


def test_contradiction_three_metrics_are_four_and_the_development_is_table_1():
    # The caption of Table 3 promises "three metrics"; accuracy, TSS, FAR and HSS are four. Section 4.2 calls the scores
    # "similar to those in the development phase (Table 2)", but Table 2 is the operation itself and Table 1 the
    # development: similar for ≥C (TSS .63, then .70), not for ≥M (.80, then .24).
    assert {len(row) for row in TABLE_3.values()} == {4}
    assert TABLE_3["C", 50][1] - TABLE_1["C"].tss == pytest.approx(0.07, abs=0.005)
    assert TABLE_3["M", 50][1] - TABLE_1["M"].tss == pytest.approx(-0.56, abs=0.005)


def test_contradiction_flares_of_the_operation(real_data):
    # The paper counts 24 C flares and one M flare from January 2019 to June 2020. NOAA's list has 33 C flares and an
    # M1.1 at the limb, without a region.
    flares = pd.read_csv(real_data / "goes" / "swpc_flares_2010-2025.csv")
    start = pd.to_datetime(flares["start_time"], format="mixed")
    flares = flares.assign(start=start)[start.between("2019-01-01", "2020-06-30 23:59")]
    flares = flares[flares["cls"].isin(["C", "M", "X"])]
    assert flares["cls"].value_counts().to_dict() == {"C": 33, "M": 1}
    assert flares.loc[flares["cls"].eq("M"), "noaa_ar"].tolist() == [0]
    # With forecasts at 03, 09, 15 and 21 UT, these are 59 pairs of region and issue time with a flare within 24 h, 54
    # of them of numbered regions; Table 2 has 38 events.
    issues = pd.date_range("2018-12-31 03:00", "2020-06-30 21:00", freq="6h")
    pairs = {
        (flare.noaa_ar, issue)
        for flare in flares.itertuples()
        for issue in issues[(issues <= flare.start) & (flare.start < issues + pd.Timedelta(hours=24))]
    }
    assert (len(pairs), sum(region != 0 for region, _ in pairs)) == (59, 54)
    assert {TABLE_2["C", percent].tp + TABLE_2["C", percent].fn for percent in (50, 45, 40)} == {38}


def test_contradiction_slides_of_2017():
    # Slides on Nishizuka et al. 2017 print TSS 0.927 for this table.
    assert round(ContingencyTable(146, 6, 16, 54448).tss, 3) == 0.901


# ---- Yi et al. 2021, Table 1 ----


def test_nishizuka_2018_row():
    # ACC .82, HSS .53, ApSS .09, TSS .63, FB 1.53, event rate .2: Table 1 (b) of Nishizuka et al. 2021.
    table = TABLE_1["C"]
    scores = (table.accuracy, table.hss, table.apss, table.tss, table.frequency_bias)
    assert [round(score, 2) for score in scores] == [0.82, 0.53, 0.09, 0.63, 1.53]
    assert round(table.base_rate, 1) == 0.2


def test_huang_2018_row():
    # Event rate .15, ApSS -.61 and FB 2.06 give the rest: per event, TP + FP = 2.06 and TP - FP = -.61, so
    # TP = .725 and FP = 1.335 of 1 event and 85/15 non-events. Times 3000 (P = 3000, Q = 17000) these are counts.
    table = ContingencyTable(tp=2175, fp=4005, fn=825, tn=12995)
    assert (table.base_rate, table.apss, table.frequency_bias) == pytest.approx((0.15, -0.61, 2.06))
    assert [round(score, 3) for score in (table.pod, table.tss, table.hss)] == [0.725, 0.489, 0.341]
    assert round(table.accuracy, 4) == 0.7585
    # As printed: ACC .76, HSS .34, TSS .49.
    assert [round(score, 2) for score in (table.accuracy, table.hss, table.tss)] == [0.76, 0.34, 0.49]


# The 3,043 test days of Yi et al. 2021 (section 2); Park et al. 2018 state 1,669 event days for the same sample.
EVENTS, NON_EVENTS = 1669, 1374


def yi_tables():
    """All tables of these samples with at most 533 errors, the most that an accuracy printed as .83 or .82 allows."""
    missed, alarms = np.meshgrid(np.arange(560), np.arange(560), indexing="ij")
    fn, fp = missed.ravel(), alarms.ravel()
    return EVENTS - fn, fp, fn, NON_EVENTS - fp


def test_row_of_yi_is_possible():
    # ACC .83, HSS .65, ApSS .61, TSS .65, FB 1: the paper prints no contingency table, and 261 would do.
    tp, fp, fn, tn = yi_tables()
    scores = score_arrays(tp, fp, fn, tn)
    fits = printed_as(scores["frequency_bias"], 1.0, digits=1)
    for name, printed in (("accuracy", 0.83), ("hss", 0.65), ("apss", 0.61), ("tss", 0.65)):
        fits &= printed_as(scores[name], printed)
    errors = (fp + fn)[fits]
    assert (errors.min(), errors.max()) == (529, 532)
    assert np.sum(fits) == 261


def test_contradiction_row_of_park_2018():
    # Yi's row (.82 .63 .60 .63) with POD .85, CSI .73 and FAR .17 of Park's abstract: no table has all seven. Without
    # the CSI there are tables, and their CSI would be printed as .72; without any other score there are none.
    tp, fp, fn, tn = yi_tables()
    scores = score_arrays(tp, fp, fn, tn)
    row = {"accuracy": 0.82, "hss": 0.63, "apss": 0.60, "tss": 0.63, "pod": 0.85, "csi": 0.73, "far": 0.17}
    fits = {name: printed_as(scores[name], printed) for name, printed in row.items()}
    for dropped in row:
        possible = np.logical_and.reduce([fits[name] for name in row if name != dropped])
        assert possible.any() == (dropped == "csi")
    without_csi = np.logical_and.reduce([fits[name] for name in row if name != "csi"])
    assert np.sum(without_csi) == 53
    assert np.all(printed_as(scores["csi"][without_csi], 0.72))


def test_contradiction_event_statistics_row_is_no_single_table():
    # Event rate .81, ACC .82, HSS .36, ApSS .08, TSS .41. From the first two and TSS:
    #   ACC = s POD + (1 - s)(1 - POD + TSS)  =>  POD = [ACC - (1 - s)(1 + TSS)] / (2 s - 1),
    # and HSS would have to be printed as .40 to .43.
    s, accuracy, tss = np.meshgrid(between(0.805, 0.815), between(0.815, 0.825), between(0.405, 0.415))
    pod = (accuracy - (1 - s) * (1 + tss)) / (2 * s - 1)
    pofd = pod - tss
    scores = score_arrays(s * pod, (1 - s) * pofd, s * (1 - pod), (1 - s) * (1 - pofd))
    assert scores["hss"].min() > 0.395
    assert scores["hss"].max() < 0.435

    # From event rate, ACC, ApSS and HSS instead: chance agreement E = (ACC - HSS)/(1 - HSS) = s f + (1 - s)(1 - f)
    # gives the forecast rate f, and ACC = 1 - s - f + 2 TP the hits; TSS would have to be printed as .31 to .33.
    s, accuracy, hss = np.meshgrid(between(0.805, 0.815), between(0.815, 0.825), between(0.355, 0.365))
    chance = (accuracy - hss) / (1 - hss)
    rate = (chance - (1 - s)) / (2 * s - 1)
    tp = (accuracy - 1 + s + rate) / 2
    scores = score_arrays(tp, rate - tp, s - tp, 1 - s - rate + tp)
    fits = printed_as(scores["apss"], 0.08)
    assert scores["hss"] == pytest.approx(hss)
    assert fits.any()
    assert scores["tss"][fits].min() > 0.31
    assert scores["tss"][fits].max() < 0.335
    assert scores["frequency_bias"][fits].min() > 1.05
    assert scores["frequency_bias"][fits].max() < 1.09


# ---- C1.0+ rows of the operational archive of Leka et al. 2019, from its counts; M1.0+ is tested on the data ----


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (ContingencyTable(102, 45, 86, 498), (0.821, 0.460, 0.303, 0.329, 0.782)),  # NOAA
        (ContingencyTable(113, 40, 75, 503), (0.843, 0.527, 0.388, 0.390, 0.814)),  # NICT
        (ContingencyTable(67, 79, 121, 464), (0.726, 0.211, -0.064, 0.128, 0.777)),  # 120-day climatology
    ],
)
def test_c1_rows_of_the_operational_archive(table, expected):
    scores = (table.accuracy, table.tss, table.apss, table.ets, table.frequency_bias)
    assert tuple(round(score, 3) for score in scores) == expected


def test_yes_no_forecasts_as_probabilities():
    # NICT's C1.0+ forecasts are 0 or 1: BSS .177 = 1 - (40 + 75)/[731 s (1 - s)] with s = 188/731, Gini = TSS = .527.
    observed = np.repeat([1, 0, 1, 0], [113, 40, 75, 503])
    forecast = np.repeat([1, 1, 0, 0], [113, 40, 75, 503])
    assert round(brier_skill_score(observed, forecast), 3) == 0.177
    assert gini(observed, forecast) == pytest.approx(ContingencyTable.from_forecasts(observed, forecast).tss)
