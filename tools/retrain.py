r"""Retrain a region model on the ledger, publish it as canary, and promote it if it beats the version in office.

Each month: the ledger is exported, `kflare.fit` trains on it, the new version is published as canary beside the stable
one, both are asked about the same regions in the same cycles that neither was trained on, and the canary is promoted,
or it is said why not (exit status 3). With --judge nothing is trained: the canary that is there is judged again.
Options that are not listed below go to `kflare.fit`, such as --epochs 40 or --flare-scale as-listed.

python tools/retrain.py defn-m --settings kflare.toml --models /var/lib/kflare/models --config serving/models.config \
    --notify 127.0.0.1:8500 --work retraining
"""

import argparse
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pandas as pd

from kflare.commands import fit, forecast, releases
from kflare.errors import DataError, KflareError, ModelError
from kflare.flares.labels import LEAD_HOURS
from kflare.models.publish import read_metadata, versions
from kflare.models.registry import model_names, model_spec
from kflare.operations.forecast import Forecast
from kflare.operations.ledger import Ledger
from kflare.operations.outcomes import forecast_outcomes
from kflare.operations.settings import read_settings
from kflare.serving import Client
from kflare.serving.server.version_labels import CANARY, STABLE, labels_of
from kflare.sun.disk import FULL_DISK
from kflare.verification.comparison import Comparison, VerificationSettings, compare
from kflare.verification.tables import forecast_table

_LAST: Final = datetime(2200, 1, 1, tzinfo=UTC)
_LEAST_EVENTS: Final = 10
"""Days with an event of some region, below which two versions are not told apart."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=model_names("region"))
    parser.add_argument("--settings", type=Path, default=Path("kflare.toml"), help="of the forecast, for its ledger")
    parser.add_argument("--models", type=Path, required=True, help="the served folder")
    parser.add_argument("--config", type=Path, required=True, help="the server's models.config, for labels")
    parser.add_argument("--notify", required=True, metavar="ADDRESS", help="the server, which is asked and told")
    parser.add_argument("--work", type=Path, default=Path("retraining"), help="new folder for each month")
    parser.add_argument("--train-until", default="9months", metavar="DATE", help="default: 9months (ago)")
    parser.add_argument("--validate-until", default="3months", metavar="DATE", help="default: 3months (ago)")
    parser.add_argument("--features", nargs="+", default=["defn79"], metavar="NAME", help="default: defn79")
    parser.add_argument("--judge", action="store_true", help="only judge the canary that is there")
    args, args.fit = parser.parse_known_args(argv)  # what kflare.fit knows
    if args.judge and args.fit:
        parser.error(f"--judge trains nothing: {args.fit[0]} would have no effect")
    try:
        status = 0 if args.judge else retrained(args)
        return status or judged(args)
    except KflareError as error:
        print(f"retrain: {error}", file=sys.stderr)
        return 1


def retrained(args: argparse.Namespace) -> int:
    """Export, fit, publish as canary; the exit status of the first that fails."""
    data, staged = args.work / "training", args.work / "models"
    # Numbers go on from those that are served.
    (staged / args.model / str(max(versions(args.models / args.model), default=0))).mkdir(parents=True, exist_ok=True)
    status = forecast.main(["--settings", str(args.settings), "--export", str(data)])
    status = status or fit.main([
        args.model, "--regions", str(data / "regions.parquet"), "--flares", str(data / "flares.csv"),
        "--features", *args.features, "--train-until", args.train_until, "--validate-until", args.validate_until,
        "--output", str(args.work / "run"), "--publish", str(staged), *args.fit,
    ])  # fmt: skip
    if status:
        return status
    new = staged / args.model / str(versions(staged / args.model)[-1])
    return releases.main([*served(args), "--publish", str(new), "--canary"])


def judged(args: argparse.Namespace) -> int:
    """Promote the canary, or say why not."""
    labels = labels_of(args.config).get(args.model, {})
    if not {CANARY, STABLE} <= set(labels):
        raise ModelError(f"{args.config} must label a version of {args.model} canary and one stable, got {labels}")
    numbers = {CANARY: labels[CANARY], STABLE: labels[STABLE]}
    since = unseen_since(*(read_metadata(args.models / args.model / str(one)) for one in numbers.values()))
    with Ledger(read_settings(args.settings).ledger.url, begin=False) as ledger, Client(args.notify) as client:
        found = compare_versions(ledger, client, args.model, numbers, since)
    told, why_not = why_not_better(found, CANARY, STABLE)
    print(f"{args.model} since {since:%Y-%m-%d}: {told}")
    if why_not:
        print(f"{args.model} version {labels[CANARY]} is not promoted: {why_not}")
        return 3
    return releases.main([*served(args), "--promote", args.model])


def served(args: argparse.Namespace) -> list[str]:
    return ["--models", str(args.models), "--config", str(args.config), "--notify", args.notify]


def unseen_since(*versions: Mapping[str, Any]) -> datetime:
    """From when on no window was in the training or validation of published versions, by their metadata."""
    try:
        last = [span["last"] for about in versions for name, span in about["spans"].items() if name != "test"]
        return max(datetime.fromisoformat(time) for time in last).astimezone(UTC) + timedelta(hours=LEAD_HOURS)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError("a version does not tell on which spans it was trained: publish one of kflare.fit") from error


def compare_versions(
    ledger: Ledger, client: Client, model: str, versions: Mapping[str, int], since: datetime
) -> Comparison:
    """The calibrated probabilities of served versions, by name, for the regions of the cycles issued from `since` on.

    Each version is asked about the features in the ledger that the forecasts were made from. Intervals (90 %) are of
    days drawn together. DataError if there is no region whose outcome is known.
    """
    cycles = (one for one in ledger.cycles(since, _LAST) if isinstance(one, Forecast) and one.data_time is not None)
    seen = {one.issue: one.data_time for one in cycles}
    table = forecast_outcomes(ledger, since, _LAST)
    table = table[table["threshold"].eq(model_spec(model).event) & table["region"].ne(FULL_DISK)]
    asked = table[["time", "region", "observed"]].dropna().assign(seen=lambda rows: rows["time"].map(seen))
    if asked.empty:
        raise DataError(f"the ledger holds no forecast of {model} since {since:%FT%H:%MZ} whose outcome is known")
    features = ledger.features(since - timedelta(days=8), _LAST).drop(columns="noaa").rename(columns={"time": "seen"})
    asked = asked.astype({"seen": features["seen"].dtype}).merge(features, on=["seen", "region"])
    answers = []
    for name, number in versions.items():
        wanted = sorted(client.metadata(model, version=number).inputs["serving_default"])
        reply = client.predict_regions(model, asked.reindex(columns=["time", "region", *wanted]), version=number)
        own = asked[["time", "region", "observed"]]
        answers.append(own.assign(method=name, probability=reply.outputs["calibrated"]))
    both = forecast_table(pd.concat(answers, ignore_index=True))
    return compare(both, VerificationSettings(thresholds=(0.5,), resamples=2000, level=0.9))


def why_not_better(found: Comparison, new: str, old: str) -> tuple[str, str]:
    """The Brier skill scores of two versions that were compared, in a line; and why `new` is no better, "" if it is."""
    scores = found.scores[found.scores["score"] == "brier_skill_score"].set_index("method")
    row = found.differences[found.differences["score"] == "brier_skill_score"].iloc[0]
    sign = 1 if row["method"] == new else -1
    lower, better, upper = sorted(sign * row[["lower", "value", "upper"]])
    skill = " and ".join(f"{scores.loc[name, 'value']:.3f} of {name}" for name in (new, old))
    days = f"{found.event_clusters} days with an event"
    told = f"BSS {skill}, {better:+.3f} more ({lower:+.3f} to {upper:+.3f}), {days}"
    if found.event_clusters < _LEAST_EVENTS:
        return told, f"{days} are too few to tell, {_LEAST_EVENTS} are needed"
    return told, "" if better > 0 else "it is no better on the same cycles"


if __name__ == "__main__":
    sys.exit(main())
