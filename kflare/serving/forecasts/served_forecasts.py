"""Forecasts from a server: magnetograms or a region table in, probabilities and attribution maps out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pandas as pd

from kflare.attribution.attribution_file import Attribution, Origin, write_attribution
from kflare.attribution.published import ATTRIBUTE, Ask, AttributionModel
from kflare.datasets.archive import forecast_time
from kflare.datasets.region_features import to_forecast
from kflare.errors import DataError, ServingError
from kflare.flares.labels import LEAD_HOURS
from kflare.io.arrays import AnyArray, Float32Array
from kflare.io.atomic import make_folder
from kflare.models.registry import DISK, INTERVAL, Kind, first_per_event, model_names, model_spec, one_per_event
from kflare.observations.magnetogram import ByteScale, Magnetogram
from kflare.observations.reading import read_magnetogram
from kflare.observations.usability import require_usable
from kflare.serving.client.channel import code_of
from kflare.serving.client.client import Client
from kflare.serving.forecasts.full_disk import full_disk_probability, held_to_regions
from kflare.serving.messages.replies import Reply

MAPS = ("cam", "grad_cam", "grad_cam_share", "guided_backprop")
"""The attribution outputs of the signature `attribute`; models published before them have not all."""
# Statuses that blame what was sent, and not the server.
_OF_THE_REQUEST = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED)
_SERVE = "serve a cnn-c or cnn-m that kflare.fit published"


@dataclass(frozen=True)
class ServedForecasts:
    """Probabilities of a flare of the class starting within 24 h after `time`, and the versions that gave them.

    `rows`: one per region and time (UTC), with the columns `C+ calibrated`, `C+ probability` (score / 100) and
    `C+ imputed` for each event, "C+" or "M+", and where the version has an interval `C+ calibrated_lower` and
    `C+ calibrated_upper`. `disk`: those of the full disk, one row per time, or per magnetogram with its `source`.
    `failures`: of which magnetograms there is no forecast, and why. `scales`: of the 8-bit images. `maps`: files.
    """

    rows: pd.DataFrame
    disk: pd.DataFrame
    versions: dict[str, int]
    failures: tuple[str, ...] = ()
    scales: tuple[ByteScale | None, ...] = ()
    maps: tuple[Path, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Forecasts as plain data: windows, regions and disk by time, models with versions."""
        windows = []
        for time, disk in self.disk.groupby("time", sort=True):
            end = time + pd.Timedelta(hours=LEAD_HOURS)
            window: dict[str, Any] = {"start": f"{time:%FT%TZ}", "end": f"{end:%FT%TZ}"}
            for name, table in (("full_disk", disk), ("regions", self.rows[self.rows["time"] == time])):
                window[name] = [_cells(row) for _, row in table.drop(columns="time").iterrows()]
            windows.append(window)
        return {"models": self.versions, "windows": windows}


def event_of(model: str) -> str:
    """The event that a model forecasts: "C+" of `cnn-c` and `defn-c`, "M+" of `cnn-m` and `defn-m`."""
    return f"{model_spec(model).event}+"


def served_models(client: Client, kind: Kind, wanted: Sequence[str] | None) -> list[str]:
    """The models to ask: those wanted, else the first of the kind for each class that the server serves.

    SettingError: a wanted one is unknown, of the other kind, or a class's second; ServingError: none is served.
    """
    if wanted:
        return list(one_per_event(wanted, kind))
    served = client.served(model_names(kind))
    if not served:
        raise ServingError(f"{client.target} serves no {kind} model: publish one of {', '.join(model_names(kind))}")
    return list(first_per_event(served, kind))


def forecast_magnetograms(
    client: Client, paths: Sequence[Path], models: Sequence[str], *, byte_range: float | None,
    attributions: Path | None = None, pictures: bool = False
) -> ServedForecasts:  # fmt: skip
    """Ask full-disk models about magnetograms, one request per image and model.

    `byte_range` is the field in gauss of byte 255 as told (see `read_magnetogram`), that of the images that a model
    learnt from the server tells; into `attributions` go attribution
    files, MODEL/NAME.fits, of maps that the same request brings, and with `pictures` overlays. An image that cannot be
    used, or that the server refuses, stands in `failures`, and the others go on; the only one is an error, DataError or
    ServingError. ServingError too if the server fails before it has answered anything; later the rest is not asked.
    """
    maps: dict[str, tuple[str, ...]] = dict.fromkeys(models, ())
    if attributions is not None:
        for model in models:
            maps[model] = _require_attribution(client, model)[2]
            make_folder(attributions / model)
    rows: list[dict[str, Any]] = []
    versions: dict[str, int] = {}
    failures: list[str] = []
    scales: list[ByteScale | None] = []
    written: list[Path] = []
    of_model = cache(client.byte_range)

    def of_image(path: Path) -> dict[str, Any]:
        read: dict[float | None, Magnetogram] = {}
        row: dict[str, Any] = {}
        for model in models:
            if (learnt := of_model(model)) not in read:
                read[learnt] = read_magnetogram(path, byte_range=byte_range, model_range=learnt)
                scales.append(read[learnt].byte_scale)
            magnetogram = read[learnt]
            row |= {"time": forecast_time(magnetogram.time), "source": Path(path).name}
            reply = ask_magnetogram(client, model, magnetogram, maps=maps[model])
            if attributions is not None:
                origin = Origin(model, reply.version)
                found = Attribution.of_reply(reply.outputs, 0, magnetogram, origin=origin)
                written.append(attributions / model / f"{Path(path).stem}.fits")
                write_attribution(found, written[-1])
                if pictures:
                    from kflare.attribution.figures import overlay, save  # takes Matplotlib

                    drawn = overlay(found, found.on_maps(magnetogram).data)
                    written.append(save(drawn, written[-1].with_suffix(".png"), dpi=100))
            versions[model] = reply.version
            for name in _chances(reply):
                row[f"{event_of(model)} {name}"] = float(reply.outputs[name][0])
        return row

    for number, path in enumerate(paths, start=1):
        try:
            rows.append(of_image(path))
        except (DataError, ServingError) as error:
            of_all = isinstance(error, ServingError) and code_of(error) not in _OF_THE_REQUEST
            if len(paths) == 1 or (of_all and not rows):
                raise
            failures.append(str(error) if str(path) in str(error) else f"`{path}`: {error}")
            if of_all:
                failures += [f"`{other}` was not asked about" for other in paths[number:]]
                break
    disk = pd.DataFrame(rows, columns=None if rows else ["time", "source"])
    return ServedForecasts(disk.iloc[:0], disk, versions, tuple(failures), tuple(scales), tuple(written))


def ask_magnetogram(
    client: Client, model: str, magnetogram: Magnetogram, *, maps: Sequence[str] = (), version: int | str | None = None
) -> Reply:
    """Ask a full-disk model about a magnetogram of any size as it was measured: the model's graph scales it.

    `maps` are those of `MAPS` to bring along; `version` is a number or label. `DataError` where
    nothing can be forecast from it (`require_usable`).
    """
    require_usable(magnetogram)
    field = magnetogram.data[None, :, :, None]
    try:
        if not maps:
            return client.predict_magnetograms(model, field, version=version)
        return _predict_maps(client, model, field, maps=maps, version=version)
    except DataError as error:
        raise DataError(f"`{magnetogram.source}`: {error}") from error


def forecast_regions(client: Client, table: pd.DataFrame, models: Sequence[str]) -> ServedForecasts:
    """Ask region models about a region table, and combine the regions of each time as `full_disks` does.

    Columns are of `read_region_table`. DataError: a feature is missing, of no model or no number; a region twice.
    """
    table = to_forecast(table)
    if table.empty:
        raise DataError("the region table holds no row whose `status` is forecast: there is nothing to ask")
    if table.duplicated(["time", "region"]).any():
        row = table[table.duplicated(["time", "region"])].iloc[0]
        raise DataError(f"`region` {row['region']} has two rows at {row['time']:%FT%TZ}: keep one")
    inputs = {model: set(client.metadata(model).inputs["serving_default"]) for model in models}
    known = set().union(*inputs.values())
    rows = table[["time", "region"]].reset_index(drop=True)
    versions, disks = {}, []
    for model in models:
        reply = client.predict_regions(model, table, ignore=known - inputs[model])
        versions[model] = reply.version
        for name in (*_chances(reply), "imputed"):
            rows[f"{event_of(model)} {name}"] = reply.outputs[name]
        disks.append(full_disks(client, reply, table).add_prefix(f"{event_of(model)} "))
    return ServedForecasts(rows, pd.concat(disks, axis=1).reset_index(), versions)


def full_disks(client: Client, reply: Reply, rows: pd.DataFrame) -> pd.DataFrame:
    """The full disk at each `time`, sorted, of the N `rows` that a region model answered, with the features asked.

    `probability`, `calibrated` and, where the version has them, the ends of its interval are combined alike by
    `full_disk_probability`: regions share one calibration, so its error moves all of them to one side. A version that
    has calibrated P_FD by itself gives its own `calibrated` and interval, by the disk's flares before where a row of
    the time tells them, but none below a region's. NaN where a region has no forecast, which may be the strongest.
    DataError where rows of one time tell of different flares of the disk.
    """
    table = pd.DataFrame({name: reply.outputs[name] for name in _chances(reply)}, dtype=float)
    rows = rows.reset_index(drop=True)
    by_time = table.groupby(rows["time"])
    disk = by_time.agg(lambda p: full_disk_probability(p) if p.notna().all() else np.nan)
    known = disk["calibrated"].notna().to_numpy()
    inputs = client.metadata(reply.model, version=reply.version).inputs.get(DISK) if known.any() else None
    if inputs is not None:
        names = [name for name in inputs if name != "combined"]
        for name in names:
            told = rows.dropna(subset=name).drop_duplicates(["time", name])
            if len(odd := told[told.duplicated("time", keep=False)].sort_values("time", kind="stable").head(2)):
                seen = " and ".join(f"{row[name]:g} of {row['region']}" for _, row in odd.iterrows())
                when = f"{odd['time'].iloc[0]:%FT%TZ}"
                raise DataError(f"`{name}` is of the whole disk: rows of {when} must tell the same, got {seen}")
        told = rows[names].groupby(rows["time"]).first().astype(np.float32)
        asked = {name: told.loc[known, name].to_numpy() for name in told}
        asked["combined"] = disk["calibrated"].to_numpy(np.float32)[known]
        own = client.predict(reply.model, asked, signature=DISK, version=reply.version).outputs
        for name, p in held_to_regions(own, dict(by_time.max()[known])).items():
            disk.loc[known, name] = p
    return disk


def _chances(reply: Reply) -> list[str]:
    """The outputs that are numbers of the event, the calibrated first: a version's interval is there or not."""
    return [name for name in ("calibrated", *INTERVAL, "probability") if name in reply.outputs]


@dataclass(frozen=True, kw_only=True)
class ServedModel(AttributionModel):
    """One version of a full-disk model on a server, which gives its own maps alone."""

    target: str
    maps: tuple[str, ...]  # of `MAPS`, those that it answers
    timeout: float

    @classmethod
    def find(cls, target: str, model: str, *, timeout: float) -> "ServedModel":
        """The newest version of a model that a server serves; `ServingError` where none of it attributes."""
        with Client(target, timeout=timeout) as client:
            version, size, maps = _require_attribution(client, model)
            learnt = client.byte_range(model, version=version)
        origin = Origin(model, version)
        return cls(target=target, origin=origin, size=size, maps=maps, timeout=timeout, byte_range=learnt)

    def open(self) -> Ask:
        """Connect; the version found is asked for by number, so that a new one does not mix with it."""
        client = Client(self.target, timeout=self.timeout)

        def ask(magnetograms: Float32Array) -> dict[str, AnyArray]:
            version = self.origin.version
            return _predict_maps(client, self.origin.model, magnetograms, maps=self.maps, version=version).outputs

        return ask


def _predict_maps(
    client: Client, model: str, magnetograms: Float32Array, *, maps: Sequence[str], version: int | str | None = None
) -> Reply:
    """Ask a full-disk model about magnetograms (N, H, W, 1), gauss, for its probabilities and attribution maps."""
    has = client.metadata(model, version=version).outputs.get(ATTRIBUTE, {})
    outputs = ("probability", "calibrated", *(name for name in INTERVAL if name in has), *maps)
    return client.predict(model, {"magnetogram": magnetograms}, signature=ATTRIBUTE, version=version, outputs=outputs)


def _require_attribution(client: Client, model: str) -> tuple[int, int, tuple[str, ...]]:
    """Version, size of the input and `MAPS` of a served model; `ServingError` where it has no signature `attribute`."""
    about = client.metadata(model)
    who = f"{model} version {about.version} at {client.target}"
    if ATTRIBUTE not in about.outputs:
        found = ", ".join(sorted(about.outputs))
        raise ServingError(f"{who} has no signature `{ATTRIBUTE}`, only {found}: {_SERVE}")
    info = about.outputs[ATTRIBUTE].get("guided_backprop")
    shape = None if info is None else info.shape
    if shape is None or len(shape) != 4 or shape[1] is None:
        raise ServingError(f"{who} does not declare the size of its `guided_backprop`: {_SERVE}")
    return about.version, shape[1], tuple(name for name in MAPS if name in about.outputs[ATTRIBUTE])


def _cells(row: pd.Series) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for column, value in row.items():
        event, _, name = str(column).partition(" ")
        (cells.setdefault(event, {}) if name else cells)[name or event] = value
    return cells
