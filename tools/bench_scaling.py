"""Attribution of images and features of hours by two workers of dask, beside one worker and the plain loop.

Workers of one thread, each on a core of its own; by the first round, which does not count, their models are loaded. The
wall clock tells what two give over one, where the machine is not shared; processor time what dask costs over the loop.
"""

import atexit
import logging
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from benchmark import Row, Timed

IMAGES, HOURS, SIZE = 32, 6, 1024


def prepare(folder: Path) -> None:
    from PIL import Image

    from kflare.synthetic.sun import SyntheticSun

    begin = datetime(2014, 1, 1, tzinfo=UTC)
    sun = SyntheticSun(begin, IMAGES, seed=0)
    for day in range(IMAGES):
        time = begin + timedelta(days=day)
        Image.fromarray(sun.magnetogram(time, size=512).to_bytes(250)).save(folder / f"hmi.M_{time:%Y%m%d_%H%M%S}.png")


def prepare_hours(folder: Path) -> None:
    import pandas as pd

    from kflare.synthetic.sun import SyntheticSun

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from observation_sets import write_observations

    sun = SyntheticSun(datetime(2014, 1, 1, tzinfo=UTC), 3, seed=2, activity=3.0)
    times = pd.date_range("2014-01-02", periods=HOURS, freq="h", tz="UTC", unit="us")
    write_observations(sun, folder / "observations", times, size=SIZE, full_disk_vector=True)


def over(count: int) -> Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]:
    """What does tasks on so many workers of a cluster that stays, or with none in this process."""
    from kflare.io.workers import KEPT_MEMORY, run_tasks

    scheduler = None
    if count:
        import dask
        from distributed import Client, LocalCluster

        dask.config.set(KEPT_MEMORY)
        stack, cores = ExitStack(), sorted(os.sched_getaffinity(0))[:count]
        quiet = {"dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL, "memory_limit": 0}
        cluster = stack.enter_context(LocalCluster(n_workers=count, threads_per_worker=1, **quiet))
        client = stack.enter_context(Client(cluster))
        for worker, core in zip(client.scheduler_info()["workers"], cores, strict=True):
            client.run(os.sched_setaffinity, 0, [core], workers=[worker])
        atexit.register(stack.close)
        scheduler = cluster.scheduler_address
    else:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])

    def run(work: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
        with run_tasks(work, tasks, workers=1, scheduler=scheduler, prepare=int) as results:
            return list(results)

    return run


def attribution(folder: Path, *, workers: int) -> Timed:
    from kflare.attribution.export import Export, export, plan_export, tasks
    from kflare.attribution.published import PublishedModel
    from kflare.models.released import released_models

    source = PublishedModel.find(released_models() / "cnn-m")
    settings = Export(folder / f"attributed-{workers}", byte_range=250)
    do, images = over(workers), sorted(folder.glob("*.png"))

    def run() -> Any:
        with settings.held():
            jobs = plan_export(images, settings, source)
            found = do(partial(export, source=source, settings=settings), tasks(jobs, settings))
        return np.array([one.rows[0]["probability"] for one in found])

    return Timed(run, per=IMAGES, before=lambda: shutil.rmtree(settings.folder, ignore_errors=True))


def features(folder: Path, *, workers: int) -> Timed:
    from kflare.datasets.region_parts import measure_all, plan
    from kflare.observations.sets import sets_in
    from kflare.regions.extraction import Extraction

    do, own = over(workers), folder / f"measured-{workers}"

    def before() -> None:
        shutil.rmtree(own, ignore_errors=True)
        (own / "parts").mkdir(parents=True)

    def run() -> Any:
        todo = [[job] for job in plan(sets_in([folder / "observations"]), own)[:HOURS]]
        return np.array([one.regions for one in do(partial(measure_all, options=Extraction()), todo)])

    return Timed(run, per=HOURS, before=before)


def ways(work: Callable[..., Timed]) -> dict[str, Callable[[Path], Timed]]:
    return {"one worker": partial(work, workers=1), "plain loop": partial(work, workers=0)}


ROWS = [
    Row(
        "scaling/attribution", f"{IMAGES} images of 512² read, attributed and written, by two workers",
        partial(attribution, workers=2), unit="image", peers=ways(attribution), prepare=prepare, rounds=4, threads=1,
    ),
    Row(
        "scaling/features", f"{HOURS} hours at {SIZE}² measured, by two workers", partial(features, workers=2),
        unit="hour", peers=ways(features), prepare=prepare_hours, rounds=4, threads=1,
    ),
]  # fmt: skip
