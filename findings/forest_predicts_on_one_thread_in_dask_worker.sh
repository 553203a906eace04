#!/usr/bin/env bash
# A random forest of scikit-learn 1.9.1 with n_jobs=2, in a worker of dask.distributed: `fit` takes two threads as it
# was told; `predict_proba` of the same forest takes one, and warns that the worker is a daemon, which may start no
# processes. But forests work in threads, which a daemon may have. The warning's work-arounds let workers start
# processes, which nothing here does; `joblib.parallel_config("threading")` around the call is enough.
# Seen with scikit-learn 1.9.1, joblib 1.6.0, distributed 2026.8.0, Python 3.11. Output when it was written:
#   here: fit in 2 threads, predict_proba in 2, warnings: none
#   in a worker: fit in 2 threads, predict_proba in 1, warnings: Inside a Dask worker with daemon=True, setting n_jobs=1.
#   in a worker, told of threads: fit in 2 threads, predict_proba in 2, warnings: none
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check scikit-learn==1.9.1 joblib==1.6.0 \
    numpy==2.4.6 dask==2026.8.0 distributed==2026.8.0 2> "$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
cat > forest.py <<'PY'
import threading
import time
import warnings
from contextlib import nullcontext

import joblib
import numpy as np
from distributed import Client, LocalCluster
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier


def threads_of(method, work):
    """How many threads call a method of the forest's trees while work is done."""
    seen, original = set(), getattr(DecisionTreeClassifier, method)

    def watched(*given, **named):
        seen.add(threading.get_ident())
        time.sleep(0.01)  # so that one thread cannot do all before the other begins
        return original(*given, **named)

    setattr(DecisionTreeClassifier, method, watched)
    try:
        work()
        return len(seen)
    finally:
        setattr(DecisionTreeClassifier, method, original)


def used(told):
    x = np.random.default_rng(0).normal(size=(500, 5))
    forest = RandomForestClassifier(40, n_jobs=2, random_state=0)
    with warnings.catch_warnings(record=True) as heard, joblib.parallel_config("threading") if told else nullcontext():
        warnings.simplefilter("always")
        fit = threads_of("_fit", lambda: forest.fit(x, x[:, 0] > 0))
        predict = threads_of("predict_proba", lambda: forest.predict_proba(x))
    return fit, predict, [str(one.message).splitlines()[0] for one in heard]


if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        found = {
            "here": used(False),
            "in a worker": client.submit(used, False).result(),
            "in a worker, told of threads": client.submit(used, True).result(),
        }
    for where, (fit, predict, heard) in found.items():
        print(f"{where}: fit in {fit} threads, predict_proba in {predict}, warnings: {'; '.join(heard) or 'none'}")
    fit, predict, heard = found.pop("in a worker")
    assert (fit, predict, len(heard)) == (2, 1, 1), "a forest in a worker of dask works otherwise now"
    assert all(one == (2, 2, []) for one in found.values()), "a forest works otherwise now"
PY
HOME=$folder "$folder/env/bin/python" forest.py
