"""The noise of the quiet Sun in 8-bit images whose scale is known, and which scales it contradicts: docs/byte_scale.md.

    python tools/byte_scale.py [--data ../shared/data] [--page docs/byte_scale.md]

Observed images as they are, and files of HMI, MDI and the synthetic Sun made into 8-bit images of several scales. It
prints a Markdown table, or with --page writes it into the page, between its two marks.
"""

import argparse
import io
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from kflare.errors import DataError
from kflare.io.payload import read_payload
from kflare.observations.byte_scale import IN_USE, choose_byte_scale, quiet_noise
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.readers.images import decode_grey, find_disk
from kflare.observations.reading import read_magnetogram

BEGIN, END = "<!-- by tools/byte_scale.py -->", "<!-- end -->"
WIDTH = 512
#: How an image is packed: as PNG (None), and of which quality as JPEG.
PACKED = (None, 95, 75, 50)

Case = tuple[str, str, float, list[bytes]]


def observed(data: Path) -> Iterator[Case]:
    """What it is, the instrument, the scale, and the files."""
    for folder in ("hmi_daily", "hmi_operational_2026"):
        files = sorted((data / folder).glob("*.jpg"))
        payloads = [read_payload(path, what="an image", kinds=("JPEG",)) for path in files]
        yield f"`{folder}`, as published", "HMI", 250.0, payloads


def made(data: Path) -> Iterator[Case]:
    """The same of files of full size, reduced and made into images."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from kflare.synthetic.sun import SyntheticSun

    sun = SyntheticSun(datetime(2014, 3, 1, tzinfo=UTC), 2, seed=11)
    files = {"HMI, JP2": "hmi_fulldisk/*.jp2", "MDI, 1999": "mdi/*1999*.fits", "MDI, 2010": "mdi/*2010*.fits"}
    suns = {name: read_magnetogram(next(data.glob(pattern))) for name, pattern in files.items()}
    for name, one in {**suns, "synthetic Sun": sun.magnetogram(sun.start, size=1024)}.items():
        for gauss in IN_USE:
            instrument = "HMI" if name == "synthetic Sun" else one.instrument
            yield f"{name}, {WIDTH} pixels", instrument, gauss, [packed(one, gauss, quality) for quality in PACKED]


def packed(one: Magnetogram, gauss: float, quality: int | None) -> bytes:
    """The file of an image."""
    stream, image = io.BytesIO(), Image.fromarray(one.resized(WIDTH).to_bytes(gauss))
    image.save(stream, "PNG") if quality is None else image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def row(case: Case) -> str:
    """One line of the table."""
    name, instrument, gauss, payloads = case
    noises, against, chosen = [], dict.fromkeys(IN_USE, 0), 0
    for payload in payloads:
        image = decode_grey(payload, source=name)
        about = {"source": "image", "instrument": instrument}
        disk = find_disk(image)
        noises.append(quiet_noise(image, disk) * 2 * gauss / 255)
        for other in IN_USE:
            try:
                choose_byte_scale(image, disk, option=other, **about)
            except DataError:
                against[other] += 1
        with suppress(DataError):
            chosen += choose_byte_scale(image, disk, **about).gauss == gauss
    spread = f"{min(noises):.2f} | {np.median(noises):.2f} | {max(noises):.2f}"
    refused = " | ".join(str(count) for count in against.values())
    return f"| {name} | ±{gauss:g} | {len(payloads)} | {spread} | {refused} | {chosen} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="default: ../shared/data")
    parser.add_argument("--page", type=Path, help="page to write the table into")
    args = parser.parse_args()
    others = " | ".join(f"contradict ±{gauss:g}" for gauss in IN_USE)
    head = f"| image | true scale, G | images | noise, G: least | median | most | {others} | measured right |"
    cases = [*observed(args.data), *made(args.data)]
    lines = [head, "| --- " * 10 + "|", *map(row, cases)]
    if args.page is None:
        print("\n".join(lines))
        return 0
    before, rest = args.page.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    args.page.write_text("\n".join([before + BEGIN, "", *lines, "", END + after]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
