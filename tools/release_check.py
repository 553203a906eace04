"""Check a source archive and a wheel before they are published: the work of tools/release once they are built.

What `twine check` asks of metadata, by the library with which the package index itself asks it, and more.
"""

import argparse
import re
import sys
import tarfile
import zipfile
from pathlib import Path

from packaging.metadata import Metadata


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/release_check.py", description=__doc__)
    parser.add_argument("folder", type=Path, help="of the archive and the wheel")
    parser.add_argument("source", type=Path, help="from which they were built")
    args = parser.parse_args()
    wheels, archives = sorted(args.folder.glob("*.whl")), sorted(args.folder.glob("*.tar.gz"))
    if (len(wheels), len(archives)) != (1, 1):
        sys.exit(f"{args.folder} must hold one wheel and one source archive, got {len(wheels)} and {len(archives)}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        inside = set(wheel.namelist())
        told = wheel.read(next(name for name in inside if name.endswith(".dist-info/METADATA")))
    with tarfile.open(archives[0]) as archive:
        members = {name.partition("/")[2] for name in archive.getnames()}
    problems = [*of_metadata(told, args.source), *of_files(inside, members, args.source)]
    for problem in problems:
        print(f"release: {problem}", file=sys.stderr)
    for path in (*archives, *wheels):
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
    return bool(problems)


def of_metadata(told: bytes, source: Path) -> list[str]:
    """What is wrong with a wheel's METADATA; what is only missing is said on stderr."""
    metadata = Metadata.from_email(told, validate=True)
    version, text = str(metadata.version), metadata.description or ""
    problems = []
    for name, pattern in (
        ("CITATION.cff", rf"^version: {re.escape(version)}$"),
        ("CHANGELOG.md", rf"^## {re.escape(version)}\b"),
    ):
        if not re.search(pattern, (source / name).read_text(encoding="utf-8"), re.MULTILINE):
            problems.append(f"{name} knows no version {version}")
    if metadata.description_content_type != "text/markdown" or "## Two commands" not in text:
        problems.append("the README is not the description")
    problems += [f"the README's link leads nowhere on an index: {link}" for link in relative_links(text)]
    if not metadata.project_urls:
        print(
            "note: no public address is known: metadata have no URLs, and of the README's links an index shows "
            "the words alone, without pictures; give KFLARE_ADDRESS",
            file=sys.stderr,
        )
    return problems


def relative_links(text: str) -> list[str]:
    """Targets of Markdown links that lead to a neighbour."""
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"https?://|#", link)]


def of_files(wheel: set[str], archive: set[str], source: Path) -> list[str]:
    """What is missing in a wheel and a source archive."""

    def below(folder: str) -> set[str]:
        return {file.relative_to(source).as_posix() for file in (source / folder).rglob("*") if file.is_file()}

    models = below("savedmodels")
    code = {name for name in below("kflare") if not name.endswith((".mako", ".pyc"))}  # with which migrations are begun
    problems = [
        f"the wheel lacks {name}" for name in sorted(code | {f"kflare/{one}" for one in models}) if name not in wheel
    ]
    wanted = models | code | {"README.md", "LICENSE", "NOTICE", "setup.py", "setup.cfg", "pyproject.toml"}
    return problems + [f"the source archive lacks {name}" for name in sorted(wanted - archive)]


if __name__ == "__main__":
    sys.exit(main())
