"""Make the figures of docs/ again by their commands, and compare: no page may tell of another kflare than this.

    tools/pages [--write] [--data DIR] [--minutes MOST] [PAGE ...]

tools/pages.toml names the command of each page. All runs in a copy of the source, so that nothing here is touched
without --write. A number agrees if it differs by one in its last digit at most: machines round in other ways. The
status is 1 if a page tells something else, of which each line is shown; what cannot be made here is named with its
reason.
"""

import argparse
import difflib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="tools/pages", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="such as detection.md (default: all)")
    parser.add_argument("--write", action="store_true", help="put what was made into docs/")
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("KFLARE_DATA", ROOT.parent / "shared" / "data"), metavar="DIR",
        help="observed data (default: $KFLARE_DATA, or ../shared/data)",
    )  # fmt: skip
    parser.add_argument("--minutes", type=float, metavar="MOST", help="leave out what takes longer")
    args = parser.parse_args()
    rows = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["pages"]
    known = {page for row in rows for page in row["page"]}
    if unknown := set(args.pages) - known:
        parser.error(f"no command makes {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    wanted = [row for row in rows if not args.pages or set(row["page"]) & set(args.pages)]
    failed, ran = False, dict.fromkeys(known, False)
    with tempfile.TemporaryDirectory() as folder:
        tree = copied(Path(folder) / "kflare", args.data)
        for row in wanted:
            told = f"{', '.join(row['page'])}: {row['command']}"
            if reason := left_out(row, args):
                print(f"{told}: left out, {reason}", flush=True)
                continue
            print(f"{told} ...", flush=True)
            works = made(row, tree, args.data.resolve())
            ran |= dict.fromkeys(row["page"], works)
            failed |= not works
        for page in sorted(name for name, works in ran.items() if works):
            old, new = ROOT / "docs" / page, tree / "docs" / page
            found = differences(old.read_text(encoding="utf-8"), new.read_text(encoding="utf-8"))
            failed |= bool(found)
            print("\n".join([f"{page}: differs", *found]) if found else f"{page}: the same")
            if args.write:
                shutil.copyfile(new, old)
        for picture in (tree / "docs").glob("*.png") if args.write else ():
            shutil.copyfile(picture, ROOT / "docs" / picture.name)
    return int(failed)


def left_out(row: dict[str, Any], args: argparse.Namespace) -> str:
    """Why a page cannot be made here, or ""."""
    if "{data}" in row["command"] and not args.data.is_dir():
        return f"no data in {args.data}: give --data"
    if (needed := row.get("needs")) and not (ROOT / needed).exists():
        return f"no {needed}: tools/train_released_models makes it"
    if args.minutes is not None and row["minutes"] > args.minutes:
        return f"it takes {row['minutes']} minutes"
    return ""


def copied(tree: Path, data: Path) -> Path:
    """A copy of the source as it is, what git ignores left out but for links to runs and to the data."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
        if name and (source := ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, tree / name)
    if (ROOT / "runs").exists():
        (tree / "runs").symlink_to(ROOT / "runs")
    if data.is_dir():
        (tree.parent / "shared").mkdir()
        (tree.parent / "shared" / "data").symlink_to(data.resolve())
    return tree


def made(row: dict[str, Any], tree: Path, data: Path) -> bool:
    """Run a command in the copy, and put the table that it prints into the copy's page; whether it worked."""
    command = [sys.executable, *shlex.split(row["command"].format(data=data))]
    environment = os.environ | {"PYTHONPATH": str(tree), "KFLARE_DATA": str(data)}
    done = subprocess.run(command, cwd=tree, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        print(f"  failed with status {done.returncode}: {done.stderr.strip()[-2000:]}")
    elif mark := row.get("mark"):
        (page,) = (tree / "docs" / name for name in row["page"])
        page.write_text(with_table(page.read_text(encoding="utf-8"), mark, done.stdout), encoding="utf-8")
    return not done.returncode


def with_table(text: str, mark: str, printed: str) -> str:
    """A page with the table that a command printed between `<!-- MARK -->` and `<!-- end -->`."""
    begin = f"<!-- {mark} -->\n"
    if text.count(begin) != 1:
        raise ValueError(f"the page must hold the mark {begin.strip()} once")
    table = [line for line in printed.splitlines() if line.startswith("|")]
    if not table:
        raise ValueError(f"no table was printed for {begin.strip()}")
    before, _, after = text.partition(begin)
    return before + begin + "\n".join(table) + "\n" + after[after.index("<!-- end -->") :]


def differences(old: str, new: str) -> list[str]:
    """Lines in which two texts differ by more than the rounding of a number, as "- old" and "+ new"."""
    first, second = old.splitlines(), new.splitlines()
    found: list[str] = []
    shapes = [[NUMBER.sub("0", line) for line in text] for text in (first, second)]
    for what, a, b, c, d in difflib.SequenceMatcher(None, *shapes, autojunk=False).get_opcodes():
        pairs = zip(first[a:b], second[c:d], strict=True) if what == "equal" else ()
        changed = [pair for pair in pairs if not agree(*pair)]
        found += [line for pair in changed for line in (f"- {pair[0]}", f"+ {pair[1]}")]
        if what != "equal":
            found += [f"- {line}" for line in first[a:b]] + [f"+ {line}" for line in second[c:d]]
    return found


def agree(old: str, new: str) -> bool:
    """Whether the numbers of two lines, alike but for these, differ by one in the last digit at most."""
    for one, other in zip(NUMBER.findall(old), NUMBER.findall(new), strict=True):
        digits = len(one.partition(".")[2])
        if abs(float(one) - float(other)) > (1.01 * 10.0**-digits if digits else 0):  # counts are exact
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())
