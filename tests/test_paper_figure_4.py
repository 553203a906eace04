"""`tools/paper_figure_4.py`: the folds that cross-validation makes of a region table, drawn."""

import io

import numpy as np
import pandas as pd
from PIL import Image

from tools.paper_figure_4 import figure_4, main


def test_each_row_is_a_fold(tmp_path):
    times = pd.Series(pd.date_range("2011-01-01", "2014-12-30", freq="6h", tz="UTC"))
    image = np.asarray(Image.open(io.BytesIO(figure_4(times, [2013, 2014]))).convert("RGB")).astype(int)
    blue, green, red = (
        np.abs(image - colour).sum(axis=2) < 12
        for colour in ((0x3B, 0x75, 0xAF), (0x51, 0x9E, 0x3E), (0xC5, 0x3A, 0x32))
    )
    # Of rows that hold all colours, those above are of 2013, with a year of training and one year less to the right.
    bars = np.flatnonzero(blue.any(axis=1) & green.any(axis=1) & red.any(axis=1))
    first, last = bars[0] + 5, image.shape[0] - 1
    last = bars[bars < last - 60][-1] - 5  # above the legend
    widths = [[int(colour[row].sum()) for colour in (blue, green, red)] for row in (first, last)]
    year = widths[0][0]
    # Training 2011, validation 2012, test 2013; then training 2011 and 2012, validation 2013, test 2014.
    np.testing.assert_allclose(widths, [[year, year, year], [2 * year, year, year]], rtol=0.03)
    order = [[int(np.flatnonzero(colour[row]).mean()) for colour in (blue, green, red)] for row in (first, last)]
    assert order == [sorted(own) for own in order]


def test_what_cannot_be_drawn_is_one_line(tmp_path, capsys):
    assert (
        main(["--regions", str(tmp_path / "none.parquet"), "--test-years", "2013", "--output", str(tmp_path / "a.png")])
        == 1
    )
    assert "none.parquet" in capsys.readouterr().err
