#!/usr/bin/env bash
# sunpy 7.0.5 gives wrong NOAA numbers for some weeks of 2002. NOAA's Solar Region Summaries print four digits, and the
# numbers went from 9999 to 0000 (10000) on 2002-06-14. sunpy's read_srs adds 10000 to all numbers of a summary
# that was issued after 2002-06-15, but older regions were on the disk, or due to return, until July: the summary of
# 2002-06-24 has 9997 among plages and 9973 among regions that return. They become 19997 and 19973,
# without a word, and match no other list. A number of four digits of these weeks needs the rule "9xxx stays".
# Seen with sunpy 7.0.5, astropy 8.0.2, numpy 2.4.6, Python 3.11. Output when it was written:
#   I: 0008 is read as 10008
#   IA: 9997 is read as 19997
#   II: 9973 is read as 19973
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check "sunpy[map]==7.0.5" astropy==8.0.2 numpy==2.4.6 \
    2> "$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
# Rows of the summary of that day (public domain), shortened.
cat > 20020624SRS.txt <<'SRS'
:Product: 20020624SRS.txt
:Issued: 2002 Jun 24 0030 UTC
# Prepared jointly by the U.S. Dept. of Commerce, NOAA,
# Space Environment Center and the U.S. Air Force.
#
Joint USAF/NOAA Solar Region Summary
SRS Number 175 Issued at 0030Z on 24 Jun 2002
Report compiled from data received at SWO on 23 Jun
I.  Regions with Sunspots.  Locations Valid at 23/2400Z
Nmbr Location  Lo  Area  Z   LL   NN Mag Type
0008 S09E13   290  0510 Dki  10   30 Beta-Gamma
IA. H-alpha Plages without Spots.  Locations Valid at 23/2400Z Jun
Nmbr  Location  Lo
9997  N17W72   016
II. Regions Due to Return 24 Jun to 26 Jun
Nmbr Lat    Lo
9973 S15    211
SRS
HOME=$folder "$folder/env/bin/python" -W ignore - <<'PY'
from sunpy.io.special.srs import read_srs

read = {row["ID"]: int(row["Number"]) for row in read_srs("20020624SRS.txt")}
for part, printed in (("I", "0008"), ("IA", "9997"), ("II", "9973")):
    print(f"{part}: {printed} is read as {read[part]}")
assert read == {"I": 10008, "IA": 19997, "II": 19973}, "sunpy's numbers have changed"
PY
