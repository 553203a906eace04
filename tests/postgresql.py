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
    # A short path since sockets allow no more than 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="kflare-pg-"))
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    _run(folder, "initdb", "-D", f"{folder}/db", "-U", "kflare", "-A", "trust", "-E", "UTF8")
    url = f"postgresql+psycopg://kflare@/{{database}}?host={folder}"
    start(url)
    try:
        yield url
    finally:
        stop(url)
        shutil.rmtree(folder)


def is_own(url: str) -> bool:
    """Whether the server of a URL is one that `running` has made."""
    return "?host=" in url and _folder(url).name.startswith("kflare-pg-")


def start(url: str) -> None:
    """Start a server of our own, by a URL that `running` gave."""
    folder = _folder(url)
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    _run(folder, "pg_ctl", "-D", f"{folder}/db", "-w", "-o", options, "-l", f"{folder}/log", "start")


def stop(url: str) -> None:
    """End it at once, as a crash does."""
    _run(_folder(url), "pg_ctl", "-D", f"{_folder(url)}/db", "-w", "-m", "immediate", "stop")


def _folder(url: str) -> Path:
    return Path(url.partition("?host=")[2])


def _run(folder: Path, program: str, *arguments: str) -> None:
    found = shutil.which(program) or max(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{program}")), default=None)
    if found is None:
        raise FileNotFoundError(
            "PostgreSQL is not installed (Debian: apt-get install postgresql) and KFLARE_POSTGRESQL is not set"
        )
    # PostgreSQL refuses to run as root. The server inherits the output: a pipe would never end.
    switch = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    subprocess.run([*switch, found, *arguments], check=True, stdout=subprocess.DEVNULL, cwd=folder)
