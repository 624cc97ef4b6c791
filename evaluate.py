"""Evaluate policies: ``python evaluate.py policy=RUN trials=100``."""

from __future__ import annotations

import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from dactyl_tl.config_files import config_directory
from dactyl_tl.errors import FAILED, UNUSABLE, CollectionError, ConfigurationError
from dactyl_tl.evaluation.command import evaluate
from dactyl_tl.evaluation.settings import register_evaluation_schema, wrong_override
from dactyl_tl.protocol import TrialInterrupted
from hardware.errors import HardwareError
from hardware.lowlevel.sockets import KeyFileError
from hardware.opening import open_world


def main() -> None:
    """Read the command line, evaluate, and say in one line what cannot be used."""
    register_evaluation_schema()
    wrong = wrong_override(sys.argv[1:], config_directory())
    if wrong:
        _refuse(wrong)
    entry = hydra.main(version_base="1.3", config_path=str(config_directory()), config_name="evaluate")(_run)
    try:
        entry()
    except SystemExit as error:
        # Hydra reports what it cannot compose itself, and exits with 1.
        raise SystemExit(UNUSABLE if error.code == 1 else error.code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _run(cfg: DictConfig) -> None:
    try:
        evaluate(cfg, open_hand=open_world)
    except (ConfigurationError, KeyFileError) as error:
        _refuse(str(error))
    except (CollectionError, HardwareError) as error:
        _refuse(str(error), FAILED)
    except TrialInterrupted as error:
        go_on = f"hydra.run.dir={HydraConfig.get().runtime.output_dir}"
        _refuse(f"{error}; what has ended is kept: go on with the same command and {go_on}", FAILED)


def _refuse(why: str, code: int = UNUSABLE) -> None:
    print(f"error: {why}", file=sys.stderr)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
