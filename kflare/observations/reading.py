"""How a file of unknown kind becomes a magnetogram."""

from datetime import datetime
from pathlib import Path
from typing import Final

from kflare.io.payload import format_of, read_payload
from kflare.observations.magnetogram import Magnetogram
from kflare.observations.quality import QualityPolicy, policy_named
from kflare.observations.readers import fits, images, jp2
from kflare.observations.readers.reader import Options, Reader
from kflare.sun.disk import Disk

#: The formats that are read. A new one is a file in `readers` and a name here (and its first bytes in
#: `kflare.io.payload.MAGIC`, where they are not known yet).
READERS: Final[tuple[Reader, ...]] = (images.JPEG, images.PNG, fits.READER, jp2.READER)
#: Of files of magnetograms.
SUFFIXES: Final = tuple(suffix for reader in READERS for suffix in reader.suffixes)


def read_magnetogram(
    path: str | Path, *, byte_range: float | None = None, model_range: float | None = None, disk: Disk | None = None,
    time: datetime | None = None, size: int | None = None, policy: str | QualityPolicy = "default",
    hmi_scale: bool = False
) -> Magnetogram:  # fmt: skip
    """Read a full-disk magnetogram: FITS of HMI or MDI, JP2 of Helioviewer, JPEG or PNG of an image archive.

    The kind of file is recognised by its first bytes, not by its suffix; a FITS file may be packed with gzip. FITS and
    JP2 need their header (see `kflare.observations.readers`), JPEG or PNG must be 8-bit grey, square, north up, west
    right, black off the disk. The result is in gauss, NaN off the disk.

    For images of bytes without a header that tells, `byte_range` is the field strength R of byte 255 in gauss, as told,
    and `model_range` that of the images that a model learnt from; without them R is measured
    (`byte_scale.choose_byte_scale`). `disk`, in pixels of the file turned north up, and `time`, aware, are taken where
    they are known better than image, header or name tell. `size` is width and height of the result, a mean over areas
    as of :meth:`Magnetogram.resized`; with `hmi_scale` fields of MDI are brought to the scale of HMI
    (:meth:`Magnetogram.on_hmi_scale`). The `policy` says which images are rejected: "default", "strict", "any" (none),
    or one's own (`kflare.observations.quality`).

    DataError: missing, damaged, another kind, no full disk, no time, rejected, or of a quiet Sun that contradicts R.
    """
    options = Options(str(path), policy_named(policy), byte_range, model_range, disk, time, size)
    reader, payload = open_reader(path)
    magnetogram = reader.read(payload, options)
    return magnetogram.on_hmi_scale() if hmi_scale else magnetogram


def magnetogram_time(path: str | Path) -> datetime:
    """Observation time of a file, UTC: the one that `read_magnetogram` gives it, without decoding the image.

    DataError if the file is missing, of another kind, or neither its header nor its name holds a time.
    """
    reader, payload = open_reader(path)
    return reader.time(payload, str(path))


def open_reader(path: str | Path) -> tuple[Reader, bytes]:
    """The reader of a file, and the content that it takes, unpacked; `DataError` where there is no such."""
    readers = {reader.format: reader for reader in READERS}
    payload = read_payload(Path(path), what=f"a magnetogram in {', '.join(readers)}", kinds=readers)
    return readers[str(format_of(payload))], payload
