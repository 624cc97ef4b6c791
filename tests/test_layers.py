"""The one direction of imports, read off the sources: no import is run, so lazy ones count too."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

LAYERS = (
    "contract",
    "config_files",
    "errors",
    "machine",
    "metrics",
    "processes",
    "progress",
    "ranks",
    "rotations",
    "goals",
    "protocol",
    "simulation",
    "rendering",
    "randomization",
    "envs",
    "models",
    "policies",
    "collection",
    "learning",
    "bundle",
    "checkpoint",
    "estimators",
    "trials",
    "vision",
    "curves",
    "evaluation",
    "analysis",
    "configuration",
    "resources",
    "restoring",
    "stages",
    "export",
    "strategy",
    "session",
    "runs",
    "training",
    "pose_training",
    "launch",
    "registration",
)
"""Parts of dactyl_tl; each imports itself and what stands before it."""

WORLD = {"simulation", "randomization", "rendering", "envs", "collection"}
"""Parts that know how the hand is simulated."""

HARDWARE_MAY_IMPORT = {
    "contract", "config_files", "errors", "rotations", "goals", "protocol", "trials", "models", "policies",
    "bundle", "checkpoint", "estimators",
}  # fmt: skip
HARDWARE_THAT_SIMULATES = {"twin", "calibration"}
"""A simulated hand behind the hardware's interface, and what fits the simulation to the hand."""

PROJECT = {"dactyl_tl", "callbacks", "hardware", "train", "evaluate", "benchmarks", "tests"}


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def layered_sources() -> list[Path]:
    """All of dactyl_tl but its public surface, which stands above all layers."""
    return [path for path in sources("dactyl_tl") if path != ROOT / "dactyl_tl" / "__init__.py"]


def imported_modules(path: Path) -> set[str]:
    """Dotted names of every module (or attribute of a package) that a source file imports."""
    package = path.relative_to(ROOT).with_suffix("").parts
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = ".".join(package[: len(package) - node.level]) if node.level else ""
            module = ".".join(filter(None, (parent, node.module)))
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def parts_imported(path: Path) -> set[str]:
    """Second names of the dactyl_tl modules that a source file imports ("envs" of dactyl_tl.envs.rewards)."""
    names = (name.split(".") for name in imported_modules(path))
    return {name[1] if len(name) > 1 else "__init__" for name in names if name[0] == "dactyl_tl"}


def part_of(path: Path) -> str:
    return path.relative_to(ROOT / "dactyl_tl").with_suffix("").parts[0]


def relative(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_every_part_has_a_place_in_the_order():
    parts = {part_of(path) for path in sources("dactyl_tl")} - {"__init__", "__main__"}
    assert parts <= set(LAYERS), f"give {sorted(parts - set(LAYERS))} a place in LAYERS"


@pytest.mark.parametrize("path", layered_sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_layer_imports_only_what_stands_before_it(path):
    part = part_of(path)
    allowed = set(LAYERS[: LAYERS.index(part) + 1])
    assert parts_imported(path) <= allowed, f"{part} may import {sorted(allowed)}"


@pytest.mark.parametrize("part", ["learning", "models", "bundle", "checkpoint", "estimators"])
def test_learning_and_networks_do_not_know_the_world(part):
    paths = [path for path in sources("dactyl_tl") if part_of(path) == part]
    guilty = [path for path in paths if parts_imported(path) & WORLD]
    assert not guilty, f"{part} imports the simulated world in {relative(guilty)}"
    for path in paths:
        called = {
            node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call)
        }
        assert "make_env" not in called, f"{path.relative_to(ROOT)} builds an environment"


def test_the_library_never_imports_what_is_built_on_it():
    above = PROJECT - {"dactyl_tl"}
    guilty = [
        path
        for path in sources("dactyl_tl")
        if {name.split(".")[0] for name in imported_modules(path)} & above
    ]
    assert not guilty, f"dactyl_tl imports {sorted(above)} in {relative(guilty)}"


def test_callbacks_import_the_library_and_nothing_else_of_the_project():
    for path in sources("callbacks"):
        others = {name.split(".")[0] for name in imported_modules(path)} & PROJECT
        assert others <= {"dactyl_tl", "callbacks"}, path.relative_to(ROOT)


def test_hardware_knows_the_contract_the_bundle_and_the_networks_only():
    for path in sources("hardware"):
        if path.relative_to(ROOT / "hardware").parts[0] in HARDWARE_THAT_SIMULATES:
            continue
        assert parts_imported(path) <= HARDWARE_MAY_IMPORT, path.relative_to(ROOT)
        others = {name.split(".")[0] for name in imported_modules(path)} & PROJECT
        assert others <= {"dactyl_tl", "hardware"}, path.relative_to(ROOT)


def test_the_reader_sees_lazy_and_relative_imports(tmp_path, monkeypatch):
    package = tmp_path / "dactyl_tl" / "models"
    package.mkdir(parents=True)
    source = package / "sample.py"
    source.write_text(
        "from dactyl_tl import rotations\nfrom ..envs import make_env\n"
        "def late():\n    import dactyl_tl.simulation.hand\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    assert parts_imported(source) == {"rotations", "envs", "simulation"}
