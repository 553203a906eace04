"""GOES X-ray flux: every format into minutes, flags and gaps, and the direction of SWPC's factor."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import sunpy.data.test
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kflare.errors import DataError, SettingError
from kflare.flares.labels import reaches
from kflare.flares.repairing import read_flares
from kflare.io import hdf5_series
from kflare.sun.goes_scale import SWPC_FACTOR
from kflare.xray.flux import read_xray_flux
from tests import catalogue_seeds as seeds

# Files of NOAA that sunpy ships for its own tests, cut to a few records.
SHIPPED = Path(sunpy.data.test.__file__).parent


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


def written(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def record(minute, flux, *, satellite=16, energy="0.1-0.8nm", **more):
    return {
        "time_tag": f"2020-07-15T12:{minute:02d}:00Z",
        "satellite": satellite,
        "flux": flux,
        "energy": energy,
        **more,
    }


def test_minutes_of_swpc_json_with_a_gap(tmp_path):
    flux = read_xray_flux(
        written(tmp_path, "x.json", [record(3, 3e-8), record(0, 1e-8), record(1, 2e-8), *seeds.XRAYS[:1]])
    )
    table = flux.table
    assert [str(kind) for kind in table.dtypes] == ["datetime64[us, UTC]", "float64", "Int64", "Int64"]
    assert table["time"].tolist() == [utc(2020, 7, 15, 12, minute) for minute in range(4)]
    # Minute 2 is missing and stays so; nothing is interpolated. The short channel does not count.
    np.testing.assert_array_equal(table["flux"], [1e-8, 2e-8, np.nan, 3e-8])
    assert table["satellite"].tolist() == [16, 16, pd.NA, 16]
    assert flux.missing == 0.25
    assert flux.repairs == {}


def test_values_that_are_none(tmp_path, caplog):
    # SWPC writes 0 where there is nothing; -1e-9 and 5 W m^-2 are no flux of the Sun.
    records = [record(0, 1e-8), record(1, 0.0), record(2, -1e-9), record(3, 5.0), record(4, None), record(5, "1e-8")]
    flux = read_xray_flux(
        written(tmp_path, "x.json", [*records, record(6, 2e-8), {"energy": "0.1-0.8nm", "flux": 1e-8}])
    )
    assert flux.table["flux"].notna().tolist() == [True, *[False] * 5, True]
    # Two values and one time.
    assert flux.repairs == {"implausible": 3}
    assert "2 of 8 rows left out: `flux` must be above 0 and below 1 W m^-2, got '-1e-09' in row 2" in caplog.text
    assert "1 of 8 rows left out: `time` must be a time between 1974 and 2100" in caplog.text


def test_contamination_is_flagged_not_dropped(tmp_path):
    records = [record(0, 1e-8, electron_contaminaton=False), record(1, 2e-8, electron_contaminaton=True)]
    flux = read_xray_flux(written(tmp_path, "x.json", records))
    assert flux.table["quality"].tolist() == [0, 1]
    assert flux.missing == 0


def test_two_satellites_in_one_file(tmp_path):
    records = [record(0, 1e-8, satellite=16), record(1, 2e-8, satellite=16), record(1, 3e-8, satellite=18),
               record(2, 4e-8, satellite=18)]  # fmt: skip
    path = written(tmp_path, "x.json", records)
    flux = read_xray_flux(path)
    assert flux.table["flux"].tolist() == [1e-8, 2e-8, 4e-8]
    assert flux.table["satellite"].tolist() == [16, 16, 18]
    assert flux.repairs == {"duplicates": 1}
    assert read_xray_flux(path, satellite=18).table["flux"].tolist() == [3e-8, 4e-8]
    with pytest.raises(DataError, match="GOES-17"):
        read_xray_flux(path, satellite=17)


def test_operational_flux_is_seven_tenths_of_the_irradiance_up_to_goes_15(tmp_path):
    records = [record(0, 7e-6, satellite=15), record(1, 7e-6, satellite=16)]
    path = written(tmp_path, "x.json", records)
    assert read_xray_flux(path).scale == "operational"
    irradiance = read_xray_flux(path, scale="irradiance")
    # NOAA: "to get true fluxes … divide the long band flux by 0.7": 7e-6 / 0.7 = 1e-5, a C7.0 has M1.0's irradiance.
    np.testing.assert_allclose(irradiance.table["flux"], [1e-5, 7e-6], rtol=1e-12)
    assert irradiance.scale == "irradiance"
    back = irradiance.on_scale("operational")
    np.testing.assert_allclose(back.table["flux"], [7e-6, 7e-6], rtol=1e-12)
    assert SWPC_FACTOR == 0.7


def test_the_factor_of_an_unknown_satellite_is_that_of_its_time(tmp_path):
    # `record` is of 2020, when SWPC's fluxes were GOES-16's; a flux of an old satellite is given as one.
    path = written(tmp_path, "x.json", [record(0, 7e-6, satellite=None)])
    assert read_xray_flux(path, scale="irradiance").table["flux"].tolist() == [7e-6]
    flux = read_xray_flux(path, scale="irradiance", satellite=14)
    np.testing.assert_allclose(flux.table["flux"], [1e-5], rtol=1e-12)
    with pytest.raises(SettingError, match="`scale`"):
        read_xray_flux(path, scale="true")


def test_science_netcdf(tmp_path):
    flux = read_xray_flux(written(tmp_path, "x.nc", seeds.science_netcdf()))
    assert flux.scale == "irradiance"
    assert flux.table["time"].tolist() == [utc(2021, 1, 1, 0, minute) for minute in range(5)]
    # Minute 1 is the fill value; 2 is in eclipse (flag 1 under the mask 3); 16 is a note, not a fault.
    assert flux.table["flux"].notna().tolist() == [True, False, False, True, True]
    assert flux.table["quality"].tolist() == [0, 0, 1, 16, 0]
    assert flux.table["satellite"].unique().tolist() == [16]
    assert flux.repairs == {"flagged": 1}


def test_operational_netcdf_3(tmp_path):
    path = written(tmp_path, "g15_xrs_1m.nc", seeds.operational_netcdf())
    flux = read_xray_flux(path)
    assert flux.scale == "operational"
    assert flux.table["time"].iloc[0] == utc(2013, 10, 28)
    np.testing.assert_allclose(flux.table["flux"], [7e-6, np.nan, 1.4e-5, 7e-7, 7e-8], rtol=1e-6)
    irradiance = read_xray_flux(path, scale="irradiance").table["flux"]
    np.testing.assert_allclose(irradiance, [1e-5, np.nan, 2e-5, 1e-6, 1e-7], rtol=1e-6)


def test_between():
    flux = read_xray_flux(SHIPPED / "sci_xrsf-l2-avg1m_g15_d20190102_truncated.nc")
    part = flux.between(utc(2019, 1, 2, 0, 10), utc(2019, 1, 2, 0, 12))
    assert part.table["time"].tolist() == [utc(2019, 1, 2, 0, 10), utc(2019, 1, 2, 0, 11)]
    assert len(flux.between(utc(2018, 1, 1), utc(2018, 1, 2))) == 0
    assert flux.between(utc(2018, 1, 1), utc(2018, 1, 2)).missing == 1.0
    with pytest.raises(DataError, match="`t0`"):
        flux.between(datetime(2019, 1, 2), utc(2019, 1, 3))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("name", "satellite", "minutes", "first"),
    [
        ("sci_xrsf-l2-avg1m_g16_d20210101_truncated.nc", 16, 100, utc(2021, 1, 1, 22, 20)),
        ("sci_xrsf-l2-avg1m_g15_d20190102_truncated.nc", 15, 51, utc(2019, 1, 2)),
        # 2-second and 1-second samples become minutes.
        ("sci_gxrs-l2-irrad_g15_d20131028_truncated.nc", 15, 21, utc(2013, 10, 28)),
        ("sci_xrsf-l2-flx1s_g17_d20201016_truncated.nc", 17, 1, utc(2020, 10, 16)),
    ],
)
def test_files_of_noaa_agree_with_sunpy(name, satellite, minutes, first):
    flux = read_xray_flux(SHIPPED / name)
    assert len(flux) == minutes
    assert flux.scale == "irradiance"
    assert flux.table["satellite"].unique().tolist() == [satellite]
    assert flux.table["time"].iloc[0] == first
    from sunpy.timeseries import TimeSeries

    theirs = TimeSeries(str(SHIPPED / name), source="XRS").to_dataframe()["xrsb"]
    expected = theirs.groupby(theirs.index.floor("min")).mean()
    np.testing.assert_allclose(flux.table["flux"], expected, rtol=1e-6)


def test_the_reprocessed_flare_of_2013_10_28_is_above_its_operational_class(real_data):
    # Reprocessed GOES-15 is irradiance; the list's classes are operational. On the operational scale the background
    # before the X1.0 at 01:53 is 0.7 of it.
    flux = read_xray_flux(SHIPPED / "sci_gxrs-l2-irrad_g15_d20131028_truncated.nc")
    operational = flux.on_scale("operational").table["flux"]
    np.testing.assert_allclose(operational / flux.table["flux"], 0.7)
    flares = read_flares(real_data / "goes" / "swpc_flares_2010-2025.csv").between(utc(2013, 10, 28), utc(2013, 10, 29))
    assert operational.max() < flares.table["flux"].max()
    assert reaches(flares.table["flux"].max(), "X")


def test_real_answers_of_swpc(real_data):
    day = read_xray_flux(real_data / "goes" / "xrays-1-day.json")
    hours = read_xray_flux(real_data / "goes" / "xrays-6-hour.json")
    # 24 h and 6 h less the two or three minutes that were not there yet; the 6 hours end the day.
    assert (len(day), len(hours)) == (1438, 358)
    assert day.missing == hours.missing == 0
    last = day.between(utc(2020, 7, 15, 12, 26), utc(2020, 7, 16)).table["flux"]
    np.testing.assert_array_equal(last, hours.table["flux"])
    # GOES-16: irradiance and operational flux are the same.
    pd.testing.assert_frame_equal(day.on_scale("irradiance").table, day.table)
    assert read_xray_flux(real_data / "goes" / "sci_xrsf-l2-avg1m_g16_d20210101_truncated.nc").missing == 0


def test_hours_that_are_not_in_the_file_stay_missing(tmp_path):
    records = [record(0, 1e-8), record(0, 2e-8) | {"time_tag": "2020-07-16T12:00:00Z"}]
    flux = read_xray_flux(written(tmp_path, "x.json", records))
    assert len(flux) == 24 * 60 + 1
    assert flux.table["flux"].notna().sum() == 2
    with pytest.raises(DataError, match="at most 10000000 minutes"):
        read_xray_flux(
            written(tmp_path, "x.json", [record(0, 1e-8), record(0, 1e-8) | {"time_tag": "1990-01-01T00:00:00Z"}])
        )


def test_what_is_no_xray_flux(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_xray_flux(tmp_path / "absent.json")
    with pytest.raises(DataError, match="no regular file"):
        read_xray_flux(tmp_path)
    for content, rule in {
        b"time,flux\n": "JSON or in netCDF",
        b"[]": "0.1-0.8nm, got 0 records",
        json.dumps(seeds.XRAY_FLARES).encode(): "begin_time",
        json.dumps([record(0, 0.0)]).encode(): "no measured flux",
        b"\x89HDF\r\n\x1a\n": "damaged or truncated",
        b"CDF\x01\x00": "damaged or truncated",
        seeds.science_netcdf()[:3000]: "damaged or truncated",
    }.items():
        with pytest.raises(DataError, match=rule):
            read_xray_flux(written(tmp_path, "x.dat", content))


def hdf5(write):
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        write(file)
    return stream.getvalue()


def test_a_netcdf_file_that_promises_too_much_is_not_read(tmp_path):
    def huge(file):
        file.create_dataset("xrsb_flux", shape=(10**12,), dtype="f4", chunks=(1000,))
        file.create_dataset("time", shape=(10**12,), dtype="f8", chunks=(1000,)).attrs["units"] = (
            "seconds since 2000-01-01T12:00:00"
        )

    with pytest.raises(DataError, match="at most 10000000 numbers"):
        read_xray_flux(written(tmp_path, "x.nc", hdf5(huge)))

    def chunk(file):
        file.create_dataset("xrsb_flux", shape=(10,), maxshape=(None,), dtype="f4", chunks=(10**8,), compression="gzip")
        file.create_dataset("time", shape=(10,), dtype="f8")

    with pytest.raises(DataError, match="chunks"):
        read_xray_flux(written(tmp_path, "x.nc", hdf5(chunk)))


def test_a_link_out_of_the_file_is_not_followed(tmp_path):
    written(tmp_path, "secret.nc", seeds.science_netcdf())

    def link(file):
        file["xrsb_flux"] = h5py.ExternalLink(str(tmp_path / "secret.nc"), "xrsb_flux")
        file["time"] = h5py.ExternalLink(str(tmp_path / "secret.nc"), "time")

    with pytest.raises(DataError, match="must hold the long channel"):
        read_xray_flux(written(tmp_path, "x.nc", hdf5(link)))


def test_a_file_that_keeps_the_library_busy_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_series, "TIME_LIMIT", 0.001)
    with pytest.raises(DataError, match="does not end within"):
        read_xray_flux(written(tmp_path, "x.nc", seeds.science_netcdf()))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 59), st.floats(1e-9, 1e-3)), min_size=1, max_size=20))
def test_every_minute_is_there_once_with_its_first_value(tmp_path, values):
    flux = read_xray_flux(written(tmp_path, "x.json", [record(minute, value) for minute, value in values]))
    minutes = [minute for minute, _ in values]
    assert len(flux) == max(minutes) - min(minutes) + 1
    step = flux.table["time"].diff().dropna()
    assert (step == timedelta(minutes=1)).all()
    first = dict(reversed(values))
    known = flux.table.dropna(subset="flux")
    assert dict(zip(known["time"].dt.minute, known["flux"], strict=True)) == pytest.approx(first)


def test_another_product_than_minutes_is_refused(tmp_path):
    # The averages of 5 minutes would stand for single ones, and four of five would be missing.
    path = tmp_path / "g13_xrs_5m_20131028.nc"
    path.write_bytes(seeds.science_netcdf())
    with h5py.File(path, "a") as file:
        file["time"][:] = file["time"][0] + 300.0 * np.arange(len(file["time"]))
    with pytest.raises(DataError, match="got one for every 300 s: it is another product"):
        read_xray_flux(path)
