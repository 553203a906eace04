#!/usr/bin/env bash
# sunpy 7.0.5 reads the missing pixels of an integer FITS image as values. A magnetogram stored as 16-bit integers marks
# what was not seen with BLANK (here -32768, with BSCALE 0.1); astropy gives NaN for
# it, sunpy.map.Map gives -3276.8 gauss. The same pixels in a tile-compressed image are NaN in both, so that a file and
# its compressed copy differ. sunpy opens files with ignore_blank=True, which says nothing when pixels are ignored.
# Seen with sunpy 7.0.5, astropy 8.0.2, numpy 2.4.6, Python 3.11. Output when it was written:
#   uncompressed: astropy [nan], sunpy [-3276.8]
#   compressed:   astropy [nan], sunpy [nan]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check "sunpy[map]==7.0.5" astropy==8.0.2 numpy==2.4.6 \
    2> "$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
HOME=$folder "$folder/env/bin/python" -W ignore - <<'PY'
import numpy as np
import sunpy.map
from astropy.io import fits

WORLD = {
    "CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CUNIT1": "arcsec", "CUNIT2": "arcsec", "CRPIX1": 2.5, "CRPIX2": 2.5,
    "CRVAL1": 0.0, "CRVAL2": 0.0, "CDELT1": 500.0, "CDELT2": 500.0, "DATE-OBS": "2014-02-25T00:00:00",
    "BUNIT": "Gauss", "TELESCOP": "SDO/HMI", "INSTRUME": "HMI_SIDE1", "CONTENT": "MAGNETOGRAM", "BLANK": -32768,
}
stored = np.full((4, 4), 100, np.int16)
stored[1, 2] = -32768


def read_both(name):
    with fits.open(name) as file:
        ours = file[-1].data[1, 2]
    return [float(ours)], [round(float(sunpy.map.Map(name).data[1, 2]), 1)]


plain = fits.PrimaryHDU(stored)
plain.header.update(WORLD)
plain.header.update({"BSCALE": 0.1, "BZERO": 0.0})
plain.writeto("plain.fits")
image = fits.ImageHDU(stored)
image.header.update(WORLD)
fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(stored, image.header)]).writeto("compressed.fits")

for name, what in (("plain", "uncompressed:"), ("compressed", "compressed:  ")):
    ours, theirs = read_both(f"{name}.fits")
    print(what, f"astropy {ours}, sunpy {theirs}")
    assert np.isnan(ours[0])
    assert theirs == [-3276.8] if name == "plain" else np.isnan(theirs[0]), "sunpy's reading has changed"
PY
