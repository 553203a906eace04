"""Print the test folders of the rooms that the working tree touches, and of the rooms above them.

Touched: what differs from where the branch left main (on main: from the last commit), committed or not. A change that
belongs to no room (setup.cfg, tests/conftest.py, errors.py) touches all of them.
"""

import configparser
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: They stand beside the layers: who may import them is a contract of its own.
BESIDE = {"verification": ["datasets", "models", "attribution", "serving", "operations", "commands"]}
#: Read by no test.
UNTESTED = (".md", ".png", ".cff")


def layers() -> list[list[str]]:
    """The rooms from the lowest to the highest, those of one height together, as .importlinter orders them."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    lines = parser["importlinter:contract:rooms"]["layers"].split("\n")
    return [[room.strip() for room in line.replace(":", "|").split("|")] for line in reversed(lines) if line.strip()]


def rooms_to_test(changed: Iterable[str]) -> list[str]:
    """Folders or files of tests for changed paths (relative to the root); ["tests"] for all."""
    order = layers()
    height = {room: place for place, rooms in enumerate(order) for room in rooms}
    wanted: set[str] = set()
    for path in changed:
        if path.endswith(UNTESTED) and not path.startswith("tests/"):
            continue
        top, *rest = path.split("/")
        room = rest[0].removesuffix(".py") if rest else ""
        if top not in {"kflare", "tests", "serving"} or (top != "serving" and (len(rest) < 2 or not room)):
            return ["tests"]
        if top == "serving":
            wanted.add("serving")
        elif top == "tests":
            wanted.add(room)
        elif room in BESIDE:
            wanted.update([room, *BESIDE[room]])
        elif room in height:
            wanted.update(other for other, place in height.items() if place > height[room] or other == room)
        else:
            return ["tests"]
    return sorted(f"tests/{room}" for room in wanted if (ROOT / "tests" / room).is_dir())


def changed_paths() -> list[str]:
    """What git calls changed or untracked, since the branch left main."""
    base = _git("merge-base", "HEAD", "main") or ["HEAD"]
    return [*_git("diff", "--name-only", base[0]), *_git("ls-files", "--others", "--exclude-standard")]


def _git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.split("\n")[:-1] if done.returncode == 0 else []


if __name__ == "__main__":
    print("\n".join(rooms_to_test(changed_paths())))
    sys.exit(0)
