#!/usr/bin/env bash
# dask.distributed 2026.8.0: leaving `with LocalCluster(...)` after workers were killed (as the kernel kills what takes all
# memory) raises an error of its own in one of six to fourteen cases, which takes the place of KilledWorker that the user waited
# for: AssertionError "can only join a started process" where a nanny is just starting the worker anew, or KeyError of the
# dead worker's address from the cluster's own bookkeeping (SpecCluster._update_worker_status). Waiting for the workers to
# be back before closing prevents the first and not the second.
# Seen with distributed 2026.8.0, Python 3.11. Output when it was written (counts vary):
#   closing raised in 3 of 41 clusters: AssertionError 3
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check distributed==2026.8.0 \
    2> "$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
cat > closing.py <<'PY'
import collections
import os
import signal

from distributed import Client, KilledWorker, LocalCluster


def killed(_):
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    seen = collections.Counter()
    for count in range(1, 81):
        try:
            with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50) as own:
                with Client(own) as client:
                    client.submit(killed, 7, pure=False).result()
        except KilledWorker:
            pass  # what a user expects
        except (AssertionError, KeyError) as error:
            seen[type(error).__name__] += 1
        if count >= 10 and sum(seen.values()) >= 3:
            break
    print(f"closing raised in {sum(seen.values())} of {count} clusters: {', '.join(f'{k} {v}' for k, v in seen.items())}")
    assert seen, "closing no longer hides why the workers died"
PY
"$folder/env/bin/python" closing.py 2> errors.log || { tail -5 errors.log; exit 1; }
