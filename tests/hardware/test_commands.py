"""``python -m hardware``: every command's module is there, can be asked for help, and errors are one line."""

import importlib.util
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from dactyl_tl.errors import FAILED, UNUSABLE, ConfigurationError
from hardware.__main__ import COMMANDS, Command, main
from hardware.errors import HardwareError
from hardware.lowlevel.sockets import KeyFileError

ROOT = Path(__file__).parents[2]


def commands(table=COMMANDS, before=()):
    """Every command: the words that call it, and its entry."""
    for name, command in table.items():
        if isinstance(command, Command):
            yield (*before, name), command
        else:
            yield from commands(command, (*before, name))


ALL = dict(commands())


@pytest.mark.parametrize("words", ALL, ids="-".join)
def test_every_command_has_its_module_which_takes_arguments_and_runs(words):
    module = import_module(ALL[words].module)
    assert callable(module.configure)
    assert callable(module.run)


@pytest.mark.parametrize("words", ALL, ids="-".join)
def test_every_command_can_be_asked_for_help(words, capsys):
    with pytest.raises(SystemExit) as end:
        main([*words, "--help"])
    assert end.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(f"usage: python -m hardware {' '.join(words)}")
    assert " ".join(ALL[words].summary.split()) in said


def test_the_help_of_all_names_every_command_and_imports_none_of_them():
    program = (
        "import sys\nfrom hardware.__main__ import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "print('loaded', [name for name in ('torch', 'mujoco', 'zmq.auth') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, command in COMMANDS.items():
        assert name in done.stdout
        assert isinstance(command, Command) is False or command.summary.split()[0] in done.stdout
    assert "'torch'" not in done.stdout.splitlines()[-1]
    assert "'mujoco'" not in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("words", [[], ["calibrate"], ["fly"], ["calibrate", "fly"]])
def test_a_command_that_is_none_is_told_the_choices(words, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert "usage: python -m hardware" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("a setting"), UNUSABLE),
        (KeyFileError("a key"), UNUSABLE),
        (HardwareError("a cable"), FAILED),
        (KeyboardInterrupt(), 130),
    ],
)
def test_what_a_person_can_put_right_is_one_line_and_an_exit_code(error, code, tmp_path, capsys, monkeypatch):
    (tmp_path / "failing_command.py").write_text(
        "def configure(parser): pass\ndef run(arguments): raise arguments.error\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("hardware.__main__.COMMANDS", {"fail": Command("failing_command", "fails")})
    module = import_module("failing_command")
    monkeypatch.setattr(module, "run", lambda _: raised(error))
    assert main(["fail"]) == code
    said = capsys.readouterr().err
    assert said == ("" if code == 130 else f"error: {error}\n")


def raised(error):
    raise error


MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "hardware").rglob("*.py")
    if path.name not in ("__init__.py", "__main__.py")
)


def test_everything_can_be_imported_without_what_is_optional():
    """As from a wheel without extras; what a part cannot do without is imported when it is used."""
    absent = ("roslibpy", "autobahn", "natnet", "qtm_rt", "pypylon", "owl", "vicon_dssdk", "rospy")
    server = "hardware.twin.rosbridge"  # stands on the websocket library that comes with roslibpy
    program = f"""
import sys
from importlib import import_module
for name in {absent!r}:
    sys.modules[name] = None
for name in {[name for name in MODULES if name != server]!r}:
    import_module(name)
print("all")
"""
    assert importlib.util.find_spec(server)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "all\n", done.stderr
