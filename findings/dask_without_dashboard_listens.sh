#!/usr/bin/env bash
# dask.distributed 2026.8.0 listens on port 8787 of all addresses though it was told to have no dashboard:
# LocalCluster(dashboard_address=None), as its documentation says to switch the dashboard off, leaves the dashboard's pages
# out, but the scheduler still starts its HTTP server (/health, /info, /metrics), on the default port and on every
# interface, beside workers that are bound to 127.0.0.1. A second such cluster on the machine warns that the port is in
# use. What binds to this machine alone is dashboard_address="127.0.0.1:0".
# Seen with distributed 2026.8.0, Python 3.11. Output when it was written:
#   dashboard_address=None: ['0.0.0.0:8787'], a second one warns: True
#   dashboard_address="127.0.0.1:0": bound to 127.0.0.1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check distributed==2026.8.0 \
    2> "$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
cat > listening.py <<'PY'
import warnings

from distributed import LocalCluster


def cluster(address):
    return LocalCluster(n_workers=1, processes=False, dashboard_address=address, silence_logs=50)


if __name__ == "__main__":
    with warnings.catch_warnings(record=True) as first:
        warnings.simplefilter("always")
        one = cluster(None)
    assert not any("8787" in str(warning.message) for warning in first), "something else listens on port 8787 here"
    server = one.scheduler.http_server
    names = [listener.getsockname() for listener in server._sockets.values()]
    bound = sorted(f"{host}:{port}" for host, port, *_ in names if ":" not in host)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        other = cluster(None)
    warns = any("8787 is already in use" in str(warning.message) for warning in told)
    print(f"dashboard_address=None: {bound}, a second one warns: {warns}")
    other.close()
    one.close()
    assert bound == ["0.0.0.0:8787"] and warns, "it no longer listens, or elsewhere"
    with cluster("127.0.0.1:0") as local:
        hosts = {s.getsockname()[0] for s in local.scheduler.http_server._sockets.values()}
    print(f'dashboard_address="127.0.0.1:0": bound to {", ".join(hosts)}')
    assert hosts == {"127.0.0.1"}
PY
"$folder/env/bin/python" listening.py
