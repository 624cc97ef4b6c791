"""What runs in the vendor's container is Python 3.8 with pyzmq and nothing else."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = sorted((ROOT / "hardware" / "lowlevel").rglob("*.py"))

WITH_A_BACKEND = {"roslibpy", "rospy", "std_msgs", "sensor_msgs", "trajectory_msgs", "diagnostic_msgs"}
"""Packages that a function may import once its backend is chosen."""

every_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)


def imported(nodes) -> set[str]:
    """Names of the modules that import statements among the nodes name."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a zipped program has no package to be relative to"
            names.add(node.module)
    return names


def minimum(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        "import vermin; vermin.main()",
        "--no-tips",
        "--no-config-file",
        "--target=3.8-",
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert "Minimum required versions" in done.stdout, done.stderr
    return done


@every_source
def test_a_source_is_python_3_8_s_grammar(path):
    ast.parse(path.read_text(encoding="utf-8"), filename=str(path), feature_version=(3, 8))


def test_sources_use_nothing_that_came_after_python_3_8():
    done = minimum("--violations", *map(str, SOURCES))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "newer",
    [
        "import tomllib",
        "zip([], [], strict=True)",
        "x = {} | {}",
        "'a'.removeprefix('a')",
        "match 1:\n  case 1: pass",
    ],
)
def test_what_came_later_would_be_found(tmp_path, newer):
    source = tmp_path / "newer.py"
    source.write_text(newer)
    assert minimum(str(source)).returncode != 0


@every_source
def test_a_source_imports_the_standard_library_pyzmq_and_its_neighbours(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    at_once, ever = imported(tree.body), imported(ast.walk(tree))
    for name in ever:
        first = name.split(".")[0]
        assert first in sys.stdlib_module_names or first == "zmq" or name.startswith("hardware.lowlevel") or (
            first in WITH_A_BACKEND and name not in at_once
        ), f"{path.name} imports {name}"  # fmt: skip


@every_source
def test_annotations_are_not_evaluated(path):
    """Python 3.8 cannot evaluate ``tuple[float, ...]`` or ``int | None``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if any(isinstance(node, (ast.AnnAssign, ast.FunctionDef)) for node in ast.walk(tree)):
        assert "__future__" in imported(tree.body)
