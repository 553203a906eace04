"""Peak memory against how many images, rows or cycles went through: flat for what streams, linear for what is a table.

Of the commands' own functions, each count in a process of its own. Images are of 352² pixels, the smallest that
networks take, and the network that attributes sees them at 128², so that many can be run.
"""

import logging
import os
import tempfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmark import Row, Timed
from PIL import Image

SIZE, SEEN, FILES = 352, 128, 100


def prepare(folder: Path) -> None:
    import keras

    from kflare.attribution.compiled import CompiledAttribution
    from kflare.models.calibration import Calibration
    from kflare.models.dense_cnn import LAST_CONVOLUTION, build_dense_cnn
    from kflare.models.savedmodel import export_image_model

    keras.utils.set_random_seed(0)
    model = build_dense_cnn((SEEN, SEEN, 1))
    twin = CompiledAttribution(model, layer=LAST_CONVOLUTION)
    export_image_model(
        model, folder / "model", calibration=Calibration(1.0, 0.0, 0.01), attribute=twin.attribute, guided=twin.guided
    )
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    for number in range(FILES):
        field = np.random.default_rng(number).normal(127.5, 4, x.shape)
        field += 90 * np.exp(-((x - number) ** 2 + (y - 50) ** 2) / 200)
        seen = np.where(np.hypot(x, y) < 160, field.clip(1, 255), 0).astype(np.uint8)
        Image.fromarray(seen).save(folder / f"{number}.png")


def nothing(_: Path) -> None:
    """What these rows need they make, and keep in the folder."""


def images(folder: Path, count: int) -> Timed:
    from kflare.observations.reading import read_magnetogram

    files = [folder / f"{number}.png" for number in range(FILES)]

    def run() -> None:
        for number in range(count):
            read_magnetogram(files[number % FILES], byte_range=100, size=SEEN, time=datetime(2014, 1, 1, tzinfo=UTC))

    return Timed(run, per=count)


def attributed(folder: Path, count: int) -> Timed:
    """As `kflare attribute` exports an archive."""
    from dataclasses import dataclass

    import tensorflow as tf

    from kflare.attribution.attribution_file import Origin
    from kflare.attribution.export import Export, export, plan_export
    from kflare.attribution.published import AttributionModel

    @dataclass(frozen=True, kw_only=True)
    class Toy(AttributionModel):
        folder: Path

        def open(self) -> Any:
            loaded = tf.saved_model.load(str(self.folder / "model"))

            def ask(fields: Any) -> Any:
                found = loaded.signatures["attribute"](magnetogram=tf.constant(fields))
                return {name: value.numpy() for name, value in found.items()}

            return ask

    def run() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            paths = []
            for number in range(count):
                time = np.datetime64("2000-01-01T00:00") + number * np.timedelta64(1, "h")
                paths.append(Path(name, f"toy_{time.item():%Y%m%d_%H%M%S}.png"))
                os.link(folder / f"{number % FILES}.png", paths[-1])
            settings = Export(Path(name, "maps"), byte_range=100)
            source = Toy(origin=Origin("toy", 1), size=SEEN, folder=folder)
            with settings.held():
                jobs = plan_export(paths, settings, source)
                failures = [one.failure for one in export(jobs, source, settings) if one.failure]
        assert not failures, failures[0]

    return Timed(run, per=count)


def asked(_: Path, count: int) -> Timed:
    """Rows in requests of 1000 to a server of their own, which does not count."""
    import bench_serving

    from kflare.serving import Client

    server = bench_serving.Served()
    given = bench_serving.inputs(1000)

    def run() -> None:
        with Client(server.address, timeout=120) as client:
            for reply in client.predict_bulk(bench_serving.REGIONS, (given for _ in range(count // 1000))):
                assert reply

    return Timed(run, per=count / 1000, apart={server.process.pid})


def answered(_: Path, count: int) -> Timed:
    """The same, of which the server counts."""
    timed = asked(_, count)
    return Timed(timed.run, per=timed.per)


def listed(folder: Path, count: int) -> Timed:
    import bench_lists

    from kflare.flares.repairing import read_flares

    logging.disable(logging.WARNING)
    path = folder / f"{count}.csv"
    if not path.exists():
        path.write_text(bench_lists.made_up(count), encoding="utf-8")
    return Timed(lambda: read_flares(path), per=count / 1000)


def resampled(_: Path, count: int) -> Timed:
    import bench_verification

    timed = bench_verification.ours(_, event="C", resamples=1000, samples=count, days=max(count // 86, 2))
    return Timed(timed.run, per=count / 1000)


def published(folder: Path, count: int) -> Timed:
    import bench_ledger

    return bench_ledger.command(folder, "--publish", years=count / 365.25 / 4, hours=6)


def rows(name: str, what: str, ours: Any, counts: Any, unit: str, prepare: Any = None) -> list[Row]:
    return [
        Row(f"memory/{name}-{count}", f"{what}: {count}", partial(ours, count=count), unit, prepare=prepare, rounds=1,
            threads=1) for count in counts
    ]  # fmt: skip


ROWS = [
    *rows("images-read", "images read", images, (100, 1000, 10_000, 100_000), "image", prepare),
    *rows("images-attributed", "images attributed into files", attributed, (100, 1000, 10_000), "image", prepare),
    *rows("rows-client", "rows asked, the client", asked, (1000, 10_000, 100_000, 1_000_000), "thousand rows"),
    *rows("rows-server", "rows asked, the server", answered, (1000, 10_000, 100_000, 1_000_000), "thousand rows"),
    *rows("ledger", "cycles in the ledger, `forecast --publish`", published, (100, 1000, 10_000), "command",
          nothing),
    *rows("flares", "flares of a list read", listed, (100, 1000, 10_000, 100_000, 300_000), "thousand flares",
          nothing),
    *rows("verified", "forecasts verified, 1000 resamples", resampled, (1000, 10_000, 100_000, 1_000_000),
          "thousand rows"),
]  # fmt: skip
