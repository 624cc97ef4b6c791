"""``python -m hardware pack``: one file, the same from the same sources, that needs pyzmq and no more."""

import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import zmq

from dactyl_tl.errors import ConfigurationError
from hardware.client import Link
from hardware.lowlevel.joints import table_hash
from hardware.lowlevel.wire import State
from hardware.packing import pack
from hardware.twin.laboratory import Ports
from tests.hardware.lowlevel.vendors import Process
from tests.processes import assert_none_left

ROOT = Path(__file__).parents[3]
SYSTEM = "/usr/bin/python3"


def imports(python: str, module: str) -> bool:
    """Whether an interpreter finds a module without this program's environment."""
    if not Path(python).exists():
        return False
    return subprocess.run([python, "-I", "-c", f"import {module}"], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return pack(tmp_path_factory.mktemp("packed") / "controller.pyz")


def free_link() -> Link:
    ports = Ports.free()
    return Link(ports.address("requests"), ports.address("conditions"))


def test_the_same_sources_give_the_same_bytes(packed, tmp_path):
    command = [sys.executable, "-m", "hardware", "pack", str(tmp_path / "again.pyz")]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, umask=0o077,
        env=os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "python3 again.pyz --backend ros" in done.stdout
    assert (tmp_path / "again.pyz").read_bytes() == packed.read_bytes()


def test_it_holds_the_low_level_alone_and_can_be_executed(packed):
    with zipfile.ZipFile(packed) as archive:
        names = set(archive.namelist())
    sources = {path.name for path in (ROOT / "hardware" / "lowlevel").glob("*.py")}
    assert names == {"__main__.py", "hardware/__init__.py"} | {f"hardware/lowlevel/{n}" for n in sources}
    assert packed.stat().st_mode & stat.S_IXUSR
    assert packed.read_bytes().startswith(b"#!/usr/bin/env python3\n")
    assert packed.stat().st_size < 100_000


def test_a_directory_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nowhere/controller\.pyz: No such file"):
        pack(tmp_path / "nowhere" / "controller.pyz")


BARE = """
import runpy, sys
sys.path.append(sys.argv[1])
for name in ("numpy", "torch", "dactyl_tl"):
    try:
        __import__(name)
    except ImportError:
        continue
    sys.exit(name + " is here")
sys.argv[1:3] = []
sys.argv[0] = PACKED
runpy.run_path(PACKED, run_name="__main__")
"""


@pytest.fixture
def bare(tmp_path, packed):
    """A command for the packed controller on an interpreter that has pyzmq and nothing else."""
    site = tmp_path / "site"
    site.mkdir()
    for folder in (Path(zmq.__file__).parent, Path(zmq.__file__).parents[1] / "pyzmq.libs"):
        if folder.exists():
            (site / folder.name).symlink_to(folder)
    program = BARE.replace("PACKED", repr(str(packed)))
    return [sys.executable, "-I", "-S", "-c", program, str(site), "--"]


def test_with_pyzmq_alone_it_says_what_can_be_said(bare, tmp_path):
    done = subprocess.run([*bare, "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for option in ("--backend {dry,dry_torques,twin,ros,rosbridge}", "--requests", "--keys", "--side"):
        assert option in done.stdout


def test_with_pyzmq_alone_it_drives_a_hand(bare, tmp_path):
    process = Process(
        "--backend", "dry", "--alone", link=free_link(), log=tmp_path / "log", command=bare, cwd=tmp_path
    )
    try:
        client = process.client()
        assert client.info().table == table_hash()
        client.arm(2.0, 0.5)
        assert client.jog(3, 0.1).report.goals[3] == 0.1
        client.disarm()
        client.close()
        process.process.terminate()
        assert process.wait() == 0
        assert "Traceback" not in process.said()
    finally:
        process.close()


@pytest.mark.parametrize("backend", ["ros", "rosbridge"])
def test_without_what_a_backend_needs_it_says_what_to_install(bare, tmp_path, backend):
    done = subprocess.run([*bare, "--backend", backend], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert {"ros": "setup.bash", "rosbridge": "pip install"}[backend] in line


@pytest.mark.skipif(not imports(SYSTEM, "zmq"), reason=f"{SYSTEM} has no pyzmq: apt install python3-zmq")
@pytest.mark.parametrize("name", ["controller.pyz", "renamed"])
def test_on_the_systems_python_it_runs_under_its_supervisor(packed, tmp_path, name):
    here = tmp_path / name
    here.write_bytes(packed.read_bytes())
    process = Process(
        "--backend", "dry", link=free_link(), log=tmp_path / "log", cwd=tmp_path,
        command=[SYSTEM, "-I", name],
    )  # fmt: skip
    try:
        client = process.client()
        children = process.children()
        assert len(children) == 1
        client.arm(2.0, 0.5)
        assert client.jog(0, 0.05).report.state == State.ARMED
        client.close()
        process.process.terminate()
        assert process.wait() == 0
        assert_none_left(children)
        assert "ended: ending" in process.said()
    finally:
        process.close()
