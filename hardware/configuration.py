"""From ``hardware=shadow_ros hardware.force=0.4`` on a command line to a laboratory's settings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from dactyl_tl.config_files import config_directory
from dactyl_tl.errors import ConfigurationError
from hardware.settings import HardwareSettings, read_hardware

DEFAULT = "twin"


def laboratories() -> list[str]:
    """Names of the files of ``conf/hardware``."""
    return sorted(path.stem for path in (config_directory() / "hardware").glob("*.yaml"))


def add_laboratory(parser: argparse.ArgumentParser) -> None:
    """Let a command take ``hardware=NAME`` and ``hardware.KEY=VALUE``."""
    parser.add_argument(
        "overrides", nargs="*", metavar="hardware[.KEY]=VALUE",
        help=f"the laboratory, one of {', '.join(laboratories())} ({DEFAULT}), and departures from it",
    )  # fmt: skip


def laboratory_settings(overrides: Sequence[str]) -> HardwareSettings:
    """The settings that overrides as of :func:`add_laboratory` describe.

    Raises:
        ConfigurationError: With what is wrong and what would do.
    """
    name, departures = DEFAULT, []
    for override in overrides:
        key, equals, value = override.partition("=")
        if key == "hardware" and equals:
            name = value
        elif key.startswith("hardware.") and equals:
            departures.append(override.removeprefix("hardware."))
        else:
            raise ConfigurationError(f"{override} is no setting; write hardware=NAME or hardware.KEY=VALUE")
    if name not in laboratories():
        raise ConfigurationError(f"hardware is {name!r}; choose from {', '.join(laboratories())}")
    try:
        file = OmegaConf.load(config_directory() / "hardware" / f"{name}.yaml")
        values = OmegaConf.to_container(OmegaConf.merge(file, OmegaConf.from_dotlist(departures)))
    except YAMLError as error:
        raise ConfigurationError(f"{' '.join(departures)} cannot be read: it is no YAML") from error
    except OmegaConfBaseException as error:
        raise ConfigurationError(str(error).splitlines()[0]) from error
    assert isinstance(values, dict)
    return read_hardware({str(key): value for key, value in values.items()})
