"""All scores with intervals for as many samples as Nishizuka et al. (2021, Table 1), against a plain loop of resamples.

The loop makes each resample and scores it with scikit-learn, as scripts do; it is timed on few resamples and scaled up.
The forecasts are drawn at random with the event rates of that table.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from sklearn.metrics import brier_score_loss, confusion_matrix, roc_auc_score

from kflare.verification.intervals import bootstrap
from kflare.verification.scores import score_arrays

LOOPED = 20  # resamples of the plain loop


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench verification", description=__doc__)
    parser.add_argument("--samples", type=int, default=31_336, help="default: 31336")
    parser.add_argument("--days", type=int, default=365, help="default: 365")
    parser.add_argument("--resamples", type=int, default=10_000, help="default: 10000")
    parser.add_argument("--rounds", type=int, default=3, help="the fastest of these counts (default: 3)")
    args = parser.parse_args()
    print(
        f"{args.samples} samples of {args.days} days, {args.resamples} resamples, {os.cpu_count()} cores; "
        f"18 scores with 95 % intervals, fastest of {args.rounds}:"
    )
    print(f"{'':22}{'kflare (s)':>12}{'processor (s)':>15}{'difference (s)':>16}{'plain loop (s)':>16}{'ratio':>8}")
    for event, rate in (("≥M, 3.2 % events", 1017 / 31336), ("≥C, 19.6 % events", 6138 / 31336)):
        random = np.random.default_rng(0)
        days = np.sort(random.integers(args.days, size=args.samples))
        probability = random.beta(1, 1 / rate - 1, args.samples)
        observed = random.random(args.samples) < probability
        other = np.clip(probability + random.normal(0, 0.05, args.samples), 0, 1)
        resamples = args.resamples
        ours, processor = fastest(partial(bootstrap, observed, probability, days, resamples=resamples), args.rounds)
        difference, _ = fastest(
            partial(bootstrap, observed, probability, days, other=other, resamples=resamples), args.rounds
        )
        loop, _ = fastest(partial(plain_loop, observed, probability, days, random), 1)
        loop *= args.resamples / LOOPED
        print(f"{event:22}{ours:12.2f}{processor:15.2f}{difference:16.2f}{loop:16.0f}{loop / ours:8.0f}")
    return 0


def fastest(run: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Elapsed and processor time of the fastest round."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter(), time.process_time()
        run()
        times.append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    return min(times)


def plain_loop(observed: np.ndarray, probability: np.ndarray, days: np.ndarray, random: np.random.Generator) -> None:
    members = [np.flatnonzero(days == day) for day in np.unique(days)]
    for _ in range(LOOPED):
        rows = np.concatenate([members[day] for day in random.integers(len(members), size=len(members))])
        o, p = observed[rows], probability[rows]
        tn, fp, fn, tp = confusion_matrix(o, p >= 0.5).ravel()
        score_arrays(tp, fp, fn, tn)
        brier_score_loss(o, p)
        roc_auc_score(o, p)


if __name__ == "__main__":
    raise SystemExit(main())
