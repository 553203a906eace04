"""Small valid files of every catalogue format, for the fuzz script and the property tests.

`seeds()` gives (name, content, reader) triples; a reader takes the path of a file that holds the content, or a damaged
form of it, and must return or raise a KflareError.
"""

import io
import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from scipy.io import netcdf_file

from kflare.flares.repairing import read_flares
from kflare.sharp.keywords import read_sharp_header, read_sharp_table
from kflare.xray.flux import read_xray_flux

# The head and first events of NOAA's list of 2015-03-01, with two events made up: "+", "B", over midnight, no region.
EVENT_TEXT = """\
:Product: 20150301events.txt
:Created: 2015 Mar 04 0357 UT
:Date: 2015 03 01
# Prepared by the U.S. Dept. of Commerce, NOAA, Space Weather Prediction Center
# Please send comments and suggestions to SWPC.Webmaster@noaa.gov
#
# Missing data: ////
# Updated every 5 minutes.
#                            Edited Events for 2015 Mar 01
#
#Event    Begin    Max       End  Obs  Q  Type  Loc/Frq   Particulars       Reg#
#-------------------------------------------------------------------------------

4080       0158   0210      0232  G15  5   XRA  1-8A      C1.0    1.9E-03   2290
4080       0158   0159      0211  LEA  3   FLA  N19W66    SF                2290

4090       0449   0449      0451  LEA  3   FLA  N19W68    SF                2290

4110       0504   0513      0521  G15  5   XRA  1-8A      C3.7    2.6E-03   2290
4110       0508   ////      0509  LEA  C   RSP  027-047   III/1             2290

4120      B0605   ////     B0655  LEA  3   EPL  ////      0.24              2289

4140 +    B0855   ////      1021  G15  5   XRA  1-8A      B7.4    1.7E-03

4170       2351   0003      0012  G15  5   XRA  1-8A      M1.2    6.1E-03   2290
"""

# Fields and the first record as SWPC served them on 2024-05-28; the optical flare of the same event is made up.
EDITED_EVENTS = [
    {
        "begin_datetime": "2024-05-28T06:38:00",
        "begin_quality": "",
        "max_datetime": "2024-05-28T06:43:00",
        "max_quality": "",
        "end_datetime": "2024-05-28T06:48:00",
        "end_quality": "",
        "observatory": "G16",
        "quality": "5",
        "type": "XRA",
        "coded_type": 1,
        "obsid": 0,
        "location": "",
        "frequency": "1-8A",
        "particulars1": "C4.1",
        "particulars2": "1.4E-03",
        "particulars3": None,
        "particulars10": "4.1E-06",
        "region": 3697,
        "bin": 7000,
        "age": None,
        "status_code": 5,
        "status_text": "",
        "change_flag": 0,
    },
    {
        "begin_datetime": "2024-05-28T06:40:00",
        "max_datetime": "2024-05-28T06:42:00",
        "end_datetime": "2024-05-28T06:55:00",
        "observatory": "LEA",
        "type": "FLA",
        "location": "S19E66",
        "particulars1": "SF",
        "region": 3697,
        "bin": 7000,
    },
]

# One record as SWPC served it on 2022-09-26, and one that had not ended.
XRAY_FLARES = [
    {
        "time_tag": "2022-09-26T08:48:00Z",
        "begin_time": "2022-09-26T08:48:00Z",
        "begin_class": "C1.0",
        "max_time": "2022-09-26T09:11:00Z",
        "max_class": "C4.7",
        "max_xrlong": 4.7267981244658586e-06,
        "max_ratio": 5.888602034978241,
        "max_ratio_time": "2022-09-26T09:04:58Z",
        "current_int_xrlong": 0.009434806182980537,
        "end_time": "2022-09-26T09:36:00Z",
        "end_class": "C2.8",
        "satellite": 16,
    },
    {
        "time_tag": "2022-09-26T10:00:00Z",
        "begin_time": "2022-09-26T10:00:00Z",
        "begin_class": "C2.0",
        "max_time": "2022-09-26T10:09:00Z",
        "max_class": "M1.0",
        "end_time": None,
        "end_class": None,
        "satellite": 16,
    },
]

HEK_RECORDS = [
    {
        "event_starttime": "2013-10-23T20:41:00",
        "event_peaktime": "2013-10-23T20:53:00",
        "event_endtime": "2013-10-23T21:00:00",
        "fl_goescls": "M2.7",
        "ar_noaanum": 1875,
        "hgs_x": 0.0,
        "hgs_y": 0.0,
        "frm_name": "SWPC",
    },
    {
        "event_starttime": "2013-10-23T20:41:00",
        "event_peaktime": "2013-10-23T20:53:00",
        "event_endtime": "2013-10-23T21:00:00",
        "fl_goescls": "M2.7",
        "ar_noaanum": 0,
        "hgs_x": -4.0,
        "hgs_y": 7.0,
        "frm_name": "SSW Latest Events",
    },
    {
        "event_starttime": "2013-10-23T20:42:10",
        "event_peaktime": "2013-10-23T20:52:34",
        "event_endtime": "2013-10-23T21:10:00",
        "fl_goescls": "",
        "ar_noaanum": 0,
        "hgs_x": -4.1,
        "hgs_y": 7.2,
        "frm_name": "Flare Detective - Trigger Module",
    },
]

CSV = "start,peak,end,goes_class,noaa,lon,lat\n2013-10-23T20:41:00Z,2053,2013-10-23 21:00,M2.7,1875,-4,7\n"

XRAYS = [
    {"time_tag": f"2020-07-15T12:{26 + k // 2:02d}:00Z", "satellite": 16, "flux": flux, "energy": energy}
    for k, (flux, energy) in enumerate([(9.1e-9, "0.05-0.4nm"), (1.7e-8, "0.1-0.8nm")] * 4)
]


# As `drms.to_datetime` and pandas write T_REC.
SHARP_CSV = """\
T_REC,HARPNUM,NOAA_AR,USFLUX,R_VALUE,LON_FWT,LAT_FWT,QUALITY
2014-02-25 00:48:00,3784,11990,1e22,4.0,-10.0,-15.0,0x00000000
2014-02-25 01:00:00,3784,"11990,11991",2e22,4.1,-9.5,-15.0,0x00000000
"""


def science_netcdf(minutes: int = 5) -> bytes:
    """netCDF-4 (HDF5) of 1-minute averages as NCEI writes them for GOES-16; minute 2 is flagged as an eclipse."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.attrs["platform"] = "g16"
        file.attrs["id"] = "sci_xrsf-l2-avg1m_g16_d20210101_v2-1-0.nc"
        # 2021-01-01T00:00:00 is 7670.5 days after the epoch.
        time = file.create_dataset("time", data=7670.5 * 86400 + 60.0 * np.arange(minutes), compression="gzip")
        time.attrs["units"] = "seconds since 2000-01-01T12:00:00"
        time.attrs["_FillValue"] = -9999.0
        flux = np.linspace(4e-8, 5e-8, minutes).astype(np.float32)
        flux[1] = -9999.0
        flux = file.create_dataset("xrsb_flux", data=flux, compression="gzip")
        flux.attrs["units"] = "W/m2"
        flux.attrs["_FillValue"] = np.float32(-9999.0)
        flags = np.zeros(minutes, dtype=np.uint8)
        flags[2], flags[3] = 1, 16
        flag = file.create_dataset("xrsb_flag", data=flags, compression="gzip")
        flag.attrs["_FillValue"] = np.uint8(255)
        flag.attrs["flag_meanings"] = "good_data eclipse bad_data e_correction_interp"
        flag.attrs["flag_masks"] = np.array([3, 1, 2, 48], dtype=np.uint8)
        flag.attrs["flag_values"] = np.array([0, 1, 2, 16], dtype=np.uint8)
    return stream.getvalue()


def operational_netcdf(minutes: int = 5) -> bytes:
    """netCDF-3 of operational averages as NOAA distributed them for GOES-15, on SWPC's scale."""
    stream = io.BytesIO()
    file = netcdf_file(stream, "w")
    file.satellite_id = b"GOES-15"
    file.createDimension("record", minutes)
    time = file.createVariable("time_tag", "d", ("record",))
    # 2013-10-28T00:00:00.
    time[:] = 1382918400000.0 + 60000.0 * np.arange(minutes)
    time.units = b"milliseconds since 1970-01-01 00:00:00.0 UTC"
    flux = file.createVariable("B_AVG", "f", ("record",))
    flux[:] = np.array([7e-6, -99999.0, 1.4e-5, 7e-7, 7e-8], dtype=np.float32)[:minutes]
    flux.units = b"W/m^2"
    flux.missing_value = b"-99999"
    file.flush()
    payload = stream.getvalue()
    file.close()
    return payload


def sharp_header() -> bytes:
    """Smallest FITS file with SHARP keywords, one of which astropy cannot read."""
    cards = {
        "SIMPLE": "T",
        "BITPIX": "8",
        "NAXIS": "0",
        "T_REC": "'2011.02.15_02:00:00_TAI'",
        "HARPNUM": "377",
        "NOAA_AR": "11158",
        "LON_FWT": "12.77996",
        "LAT_FWT": "-20.201988",
        "QUALITY": "0",
        "CDELT1": "0.03",
        "CUNIT1": "'degree'",
        "DSUN_OBS": "147746220503.41",
        "RSUN_OBS": "971.671936",
        "RSUN_REF": "696000000",
        "USFLUX": "2.71476E+22",
        "MEANGBZ": "100.523",
        "ERRBZ": "0.081",
    }
    lines = [f"{key:<8}= {value:>20}" if value[0] != "'" else f"{key:<8}= {value}" for key, value in cards.items()]
    lines += ["R_VALUE = nan     ", "END"]
    return "".join(f"{line:<80}" for line in lines).ljust(2880).encode()


# Lines of goes-xrs-report_2014.txt, as NGDC distributed it, and of its reports of other years.
REPORT = """\
31777140107  0349 0356 0353 N07E08                         M 10    G15  2.7E-03 11946 140107.7
31777140107  1804 1858 1832                                X 12    G15  2.5E-01
31777140111  2357 0009 0005                                C 61    G15  2.5E-03
"""


def flare_summary() -> bytes:
    """NCEI's flare summary of GOES-16, of two flares of 2017-09."""
    stream = io.BytesIO()
    status = ["EVENT_START", "EVENT_PEAK", "EVENT_END", "EVENT_START", "EVENT_PEAK", "EVENT_END", "POST_EVENT"]
    with h5py.File(stream, "w") as file:
        file["time"] = 557_884_800 + np.array([537, 550, 557, 713, 722, 730, 780]) * 60.0
        file["time"].attrs["units"] = "seconds since 2000-01-01 12:00:00 UTC"
        file["xrsb_flux"] = np.full(7, 1e-6, np.float32)
        file["status"], file["flare_class"] = status, ["", "X2.2", "", "", "X9.3", "", ""]
        file["flare_id"] = [201709060857] * 3 + [201709061153] * 4
    return stream.getvalue()


def seeds() -> list[tuple[str, bytes, Callable[[Path], object]]]:
    """(name, content, reader) of each format."""
    return [
        ("20150301events.txt", EVENT_TEXT.encode(), read_flares),
        ("edited_events.json", json.dumps(EDITED_EVENTS).encode(), read_flares),
        ("xray-flares-7-day.json", json.dumps(XRAY_FLARES).encode(), read_flares),
        ("hek.json", json.dumps({"result": HEK_RECORDS, "overmax": False}).encode(), read_flares),
        ("flares.csv", CSV.encode(), read_flares),
        ("goes-xrs-report_2014.txt", REPORT.encode(), read_flares),
        ("sci_xrsf-l2-flsum_g16_d20170906_v2-2-0.nc", flare_summary(), read_flares),
        ("xrays-6-hour.json", json.dumps(XRAYS).encode(), read_xray_flux),
        ("sci_xrsf-l2-avg1m_g16_d20210101.nc", science_netcdf(), read_xray_flux),
        ("g15_xrs_1m_20131028_20131028.nc", operational_netcdf(), read_xray_flux),
        ("keywords.csv", SHARP_CSV.encode(), read_sharp_table),
        ("hmi.sharp_cea_720s.377.fits", sharp_header(), read_sharp_header),
    ]
