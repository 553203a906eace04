"""Ask a server for forecasts: magnetograms or a region table in, region and full-disk probabilities out."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from kflare.commands import command_line
from kflare.errors import SettingError
from kflare.io.percent import chance, score

if TYPE_CHECKING:
    from kflare.serving.client.client import Client
    from kflare.serving.forecasts.served_forecasts import ServedForecasts


def _predict(args: argparse.Namespace) -> None:
    if not args.magnetograms and args.regions is None:
        raise SettingError("give either magnetograms or --regions FILE")
    from kflare.serving.client.client import Client
    from kflare.serving.forecasts.served_forecasts import forecast_magnetograms, served_models

    with Client(args.server, timeout=args.timeout) as client:
        if args.regions is not None:
            result = _of_regions(args, client)
        else:
            from kflare.datasets.archive import magnetogram_files

            paths = magnetogram_files(args.magnetograms)
            models = served_models(client, "image", args.models)
            chosen = {"byte_range": args.byte_range, "attributions": args.attribute, "pictures": args.png}
            result = forecast_magnetograms(client, paths, models, **chosen)
    command_line.tell_byte_scale(args.prog, result.scales)
    if len(result.disk):
        print(json.dumps(result.as_json(), indent=2) if args.json else _as_text(result))
        if maps := result.maps:
            print(f"{args.prog}: {len(maps)} files of maps in {args.attribute}, such as {maps[-1]}", file=sys.stderr)
    rest = "the forecasts of the others are on standard output" if len(result.disk) else "there is no forecast"
    total = f"{len(result.disk) + len(result.failures)} magnetograms"
    command_line.report_failures(args.prog, result.failures, of=total, rest=rest)


def _of_regions(args: argparse.Namespace, client: "Client") -> "ServedForecasts":
    from kflare.datasets.region_features import complete_rows
    from kflare.datasets.region_table import read_region_table, region_numbers
    from kflare.flares.region_numbers import unassigned_note
    from kflare.flares.repairing import read_flares
    from kflare.serving.forecasts.served_forecasts import forecast_regions, served_models

    table = read_region_table(args.regions)
    if args.flares is not None:
        flares = read_flares(args.flares, scale=args.flare_scale)
        if note := unassigned_note(table["time"], flares):
            print(f"{args.prog}: {note}", file=sys.stderr)
        if region_numbers(table).empty:
            told = "no region there has a NOAA number (`noaa`), so the flares tell nothing of their past"
            print(f"{args.prog}: `{args.regions}`: {told}; give kflare.features --srs", file=sys.stderr)
        table = complete_rows(table, flares=flares)
    return forecast_regions(client, table, served_models(client, "region", args.models))


def _as_text(result: "ServedForecasts") -> str:
    import pandas as pd

    told = (
        "P: calibrated probability of a flare starting within 24 h (observed frequency, with the 90 % interval of its "
        "calibration; no forecast is a certainty); score: the network's output, of 0 to 100, no probability: 50 is the "
        "climatological rate"
    )
    if "C+ imputed" in result.rows or "M+ imputed" in result.rows:
        told += "; filled in: how many features were not measured (`imputed` with --json)"
    lines = [told, ", ".join(f"{model} version {version}" for model, version in result.versions.items()), ""]
    disk = result.disk
    if "source" not in disk:
        disk = disk.assign(region="full disk (P_FD)")
    together = pd.concat([result.rows, disk]) if len(result.rows) else disk
    together = together.sort_values("time", kind="stable")
    shown = together.assign(time=together["time"].dt.strftime("%Y-%m-%dT%H:%MZ"))
    for column in shown.columns:
        if column.endswith("probability"):
            shown[column] = together[column].map(score)
        elif column.endswith("calibrated"):
            ends = [together.get(f"{column}_{end}", together[column].map(lambda _: None)) for end in ("lower", "upper")]
            shown[column] = list(map(chance, together[column], *ends))
            shown = shown.drop(columns=[f"{column}_lower", f"{column}_upper"], errors="ignore")
        elif column.endswith("imputed"):
            shown[column] = together[column].map(lambda count: "" if pd.isna(count) else f"{count:.0f}")
    words = {"calibrated": "P(≥{})", "probability": "score ≥{}", "imputed": "filled in, ≥{}"}
    headings = {column: words[column[3:]].format(column[0]) for column in shown.columns if column[1:3] == "+ "}
    return "\n".join([*lines, shown.rename(columns=headings).to_string(index=False)])


main = command_line.Command("predict", __doc__, _predict)
