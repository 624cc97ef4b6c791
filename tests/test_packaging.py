"""The wheel: what is in it, and that it works where there is no checkout."""

import email
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import hydra
import pytest
from omegaconf import OmegaConf

from dactyl_tl.config_files import config_directory
from dactyl_tl.launch import prepare_hydra

ROOT = Path(__file__).resolve().parents[1]
TOP_LEVEL = {"dactyl_tl", "callbacks", "hardware"}
SOURCES = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "conf", *sorted(TOP_LEVEL))

TRAINING = """
from dactyl_tl.launch import main
main()
"""

EXAMPLE = """
import sys
from torchrl.envs import EnvBase
from dactyl_tl import make_env, load_policy
env = make_env("block", num_envs=4, randomization="all", device="cpu", seed=0,
               initial_states={"steps": 2})
policy = load_policy(sys.argv[1])
rollout = env.rollout(5, policy, break_when_any_done=False)
print(isinstance(env, EnvBase), tuple(rollout.shape), tuple(rollout["action"].shape), rollout["action"].dtype)
"""

ORIGINS = """
import importlib.util
for name in ("dactyl_tl", "callbacks", "hardware", "dactyl_tl.conf"):
    print(importlib.util.find_spec(name).origin)
"""


def run(*command, cwd, **environment):
    """Run a program away from the checkout; its output."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd, env=inherited | environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy of the sources, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "sources"
    copy.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, copy, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """A folder that the wheel was installed into; its dependencies are this interpreter's."""
    folder = tmp_path_factory.mktemp("site")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps")
    run(*pip, "--target", folder, wheel, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def trained(site, tmp_path_factory):
    """Folder of a training of two rollouts with the installed packages and the installed configuration."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "my_training.py").write_text(TRAINING, encoding="utf-8")
    command = ("my_training.py", "experiment=smoke", f"hydra.run.dir={folder / 'run'}")
    run(sys.executable, *command, cwd=folder, PYTHONPATH=str(site))
    return folder / "run"


def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_holds_the_packages_and_every_configuration(wheel):
    files = {name for name in names(wheel) if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in files} == TOP_LEVEL
    expected = {
        str(path.relative_to(ROOT))
        for package in TOP_LEVEL
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".html") or path.name == "py.typed"
    }
    for shipped in ("policies", "estimators"):
        bundles = (ROOT / "dactyl_tl" / shipped).glob("*/*.*")
        expected |= {str(path.relative_to(ROOT)) for path in bundles if path.parent.name != "__pycache__"}
    expected |= {f"dactyl_tl/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert expected | {"dactyl_tl/conf/__init__.py"} == files


def test_wheel_holds_no_scripts_tests_or_pins(wheel):
    unwanted = ("train.py", "evaluate.py", "setup.py", "tests/", "benchmarks/", "constraints.txt")
    assert not [name for name in names(wheel) if name.startswith(unwanted)]
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
    fields = email.message_from_string(text)
    assert fields["License"] == "MIT"
    assert set(fields["Requires-Python"].replace(" ", "").split(",")) == {">=3.11", "<3.14"}
    for dependency in ("torchrl", "tensordict", "pytorch-lightning", "mujoco", "gymnasium", "hydra-core"):
        assert f"Requires-Dist: {dependency}" in text


def test_installed_packages_share_one_parent_and_no_foreign_one_shadows_them(site, tmp_path):
    origins = run(sys.executable, "-c", ORIGINS, cwd=tmp_path, PYTHONPATH=str(site)).split()
    assert origins == [
        str(site / "dactyl_tl" / "__init__.py"),
        str(site / "callbacks" / "__init__.py"),
        str(site / "hardware" / "__init__.py"),
        str(site / "dactyl_tl" / "conf" / "__init__.py"),
    ]


def test_training_runs_from_the_installed_packages(trained):
    lines = (trained / "metrics.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 2
    assert (trained / "checkpoints" / "last.ckpt").is_file()


def test_example_of_the_public_surface(site, trained, tmp_path):
    (tmp_path / "example.py").write_text(EXAMPLE, encoding="utf-8")
    bundle = trained / "bundles" / "last"
    printed = run(sys.executable, "example.py", bundle, cwd=tmp_path, PYTHONPATH=str(site))
    assert printed.splitlines()[-1] == "True (4, 5) (4, 5, 20) torch.int64"


def test_constraints_pin_every_dependency_and_one_build_of_torch():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert pins["torch"] == "2.13.0"
    assert not [name for name in pins if name.lower().startswith(("nvidia", "cuda", "triton"))]
    assert not [version for version in pins.values() if "+" in version]
    pinned = {name.lower().replace("_", "-") for name in pins}
    required = set(run(sys.executable, "-c", REQUIREMENTS, cwd=ROOT).split())
    assert required
    assert not required - pinned


def test_make_train_evaluates_on_the_goals_that_the_laptop_recipe_trains_on():
    (line,) = (
        line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("LAPTOP_TRIALS")
    )
    asked = OmegaConf.from_dotlist(line.partition(":=")[2].replace("'", "").split())
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(config_directory())):
        prepare_hydra()
        trained = hydra.compose("train", ["experiment=laptop", "output_dir=unused"]).environment
    assert asked.goals.kind == trained.goals.kind
    assert list(asked.goals.angle) == list(trained.goals.angle)
    assert asked.limits.timeout == trained.goals.timeout
    assert asked.randomization == trained.randomization


REQUIREMENTS = """
import re, runpy, unittest.mock
with unittest.mock.patch("setuptools.setup") as setup:
    runpy.run_path("setup.py")
arguments = setup.call_args.kwargs
for requirement in arguments["install_requires"] + arguments["extras_require"]["dev"]:
    print(re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-"))
"""
