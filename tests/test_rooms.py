"""The order of the rooms: who may import whom, with no circle, neither between the rooms nor inside one."""

import ast
import re
import runpy
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_TOOL = runpy.run_path(str(ROOT / "tools" / "changed_rooms.py"))
layers, rooms_to_test = _TOOL["layers"], _TOOL["rooms_to_test"]


def imports() -> dict[str, set[str]]:
    """Every module of kflare with the modules of kflare that it imports, at its top or inside a function."""
    paths = {module_name(path): path for path in (ROOT / "kflare").rglob("*.py")}
    return {name: set(imported(ast.parse(path.read_text()), paths)) - {name} for name, path in paths.items()}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> str:
    return [*module.split("."), ""][1]


def imported(node: ast.AST, modules):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue  # annotations only: nothing is imported
        if isinstance(child, ast.ImportFrom) and (child.module or "").split(".")[0] == "kflare":
            assert child.module
            for alias in child.names:
                inner = f"{child.module}.{alias.name}"
                yield inner if inner in modules else child.module
        elif isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names if alias.name in modules)
        else:
            yield from imported(child, modules)


def test_no_module_imports_itself_by_way_of_others():
    try:
        list(TopologicalSorter(imports()).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def test_no_import_goes_up():
    height = {room: place for place, rooms in enumerate(layers()) for room in rooms}
    upward = []
    for module, others in imports().items():
        here = room_of(module)
        for other in others:
            there = room_of(other)
            if here != there and height.get(there, -1) >= height.get(here, len(height)):
                upward.append(f"{module} -> {other}")
    assert not upward


def top_level_names(path: Path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name))


def test_a_public_name_means_one_thing():
    owners: dict[str, set[str]] = {}
    for path in (ROOT / "kflare").rglob("*.py"):
        for name in top_level_names(path):
            owners.setdefault(name, set()).add(module_name(path))
    # Of a command, of a format, a type variable, of a migration.
    in_each = {"main", "READER", "T", "revision", "down_revision", "upgrade"}
    assert not {
        name: sorted(modules)
        for name, modules in owners.items()
        if len(modules) > 1 and not name.startswith("_") and name not in in_each
    }


def test_every_room_has_its_place_in_the_order():
    rooms = {path.name for path in (ROOT / "kflare").iterdir() if (path / "__init__.py").exists()}
    beside = {"verification", "synthetic"}  # with contracts of their own
    assert {room for rooms_of_one_height in layers() for room in rooms_of_one_height} - {"errors"} == rooms - beside


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        (["kflare/operations/cycle.py"], ["tests/commands", "tests/operations"]),
        (["tests/regions/test_cea.py"], ["tests/regions"]),
        (["kflare/synthetic/sun.py"], ["tests"]),
        (["setup.cfg"], ["tests"]),
        (["tests/conftest.py"], ["tests"]),
        (["kflare/errors.py"], ["tests"]),
        (["docs/skill.md", "README.md"], []),
    ],
)
def test_rooms_to_test(changed, wanted):
    assert rooms_to_test(changed) == wanted


def test_a_change_below_is_tested_above():
    rooms = rooms_to_test(["kflare/regions/cea.py"])
    assert "tests/models" in rooms
    assert "tests/sun" not in rooms


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_what_a_document_names_is_there(document):
    named = re.findall(r"`((?:[\w.]+/)+[\w.]+\.(?:py|csv|toml|md))(?::(\w+))?`", (ROOT / document).read_text())
    assert len(named) > 5
    for path, name in named:
        if "NAME" in path or "FORMAT" in path:
            continue  # what a contributor will write
        found = [place for place in (ROOT / path, ROOT / "kflare" / path) if place.exists()]
        assert found, f"{document} names {path}"
        assert re.search(rf"\b{name}\b", found[0].read_text()), f"{document} names {name} of {path}"
