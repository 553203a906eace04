"""A PostgreSQL server for tests: the one that KFLARE_POSTGRESQL names, or one of our own, thrown away afterwards."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def running() -> Iterator[str]:
    """URL of the server, with "{database}" where its database is named; FileNotFoundError if none is installed."""
    given = os.environ.get("KFLARE_POSTGRESQL")
    if given:
        yield given if "{database}" in given else f"{given.rstrip('/')}/{{database}}"
        return
    found = shutil.which("initdb") or max(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), default=None)
    if found is None:
        raise FileNotFoundError(
            "PostgreSQL is not installed (Debian: apt-get install postgresql) and KFLARE_POSTGRESQL is not set"
        )
    # PostgreSQL refuses to run as root; a short path since sockets allow no more than 107 characters.
    switch = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="kflare-pg-"))
    if switch:
        shutil.chown(folder, "postgres")
    control = [*switch, str(Path(found).with_name("pg_ctl")), "-D", f"{folder}/db", "-w"]
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    make = [*switch, found, "-D", f"{folder}/db", "-U", "kflare", "-A", "trust", "-E", "UTF8"]
    subprocess.run(make, check=True, capture_output=True, cwd=folder)
    # The server inherits the output: a pipe would never end.
    start = [*control, "-o", options, "-l", f"{folder}/log", "start"]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    try:
        yield f"postgresql+psycopg://kflare@/{{database}}?host={folder}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd=folder)
        shutil.rmtree(folder)
