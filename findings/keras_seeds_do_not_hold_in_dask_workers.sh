#!/usr/bin/env bash
# keras 3.15.1 in a worker of dask.distributed 2026.8.0: the same network after `keras.utils.set_random_seed(1)` begins with
# other weights in each task, if a second passes between the seed and the first layer. Layers draw their seeds from Python's
# global `random`, and what distributed does in the worker's process beside the task draws from it too.
# In a plain process the pause changes nothing. Seeds given to the initializers hold.
# Seen with keras 3.15.1, tensorflow-cpu 2.21.0, distributed 2026.8.0, Python 3.11. Output when it was written:
#   plain process: equal after a pause True; worker: 6 of 6 tasks began with other weights; seeded initializer: 0 of 6
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check tensorflow-cpu==2.21.0 keras==3.15.1 \
    distributed==2026.8.0 2> "$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
cat > seeds.py <<'PY'
import time

from distributed import Client, LocalCluster


def weights(pause, seed=None):
    import keras

    keras.utils.set_random_seed(1)
    time.sleep(pause)  # as reading data does
    layer = keras.layers.Dense(2, kernel_initializer=keras.initializers.GlorotUniform(seed=seed))
    layer.build((None, 2))
    return layer.get_weights()[0].ravel().tolist()


if __name__ == "__main__":
    plain, paused, given = weights(0), weights(2), weights(0, seed=7)
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as own, Client(own) as client:
        drawn = [client.submit(weights, 2, pure=False).result() for _ in range(6)]
        held = [client.submit(weights, 2, seed=7, pure=False).result() for _ in range(6)]
    others, changed = sum(one != plain for one in drawn), sum(one != given for one in held)
    print(f"plain process: equal after a pause {plain == paused}; worker: {others} of 6 tasks began with other weights; "
          f"seeded initializer: {changed} of 6")
    assert plain == paused and others > 0 and changed == 0, "a seed holds in a worker now"
PY
TF_CPP_MIN_LOG_LEVEL=3 "$folder/env/bin/python" seeds.py 2> errors.log || { tail -5 errors.log; exit 1; }
