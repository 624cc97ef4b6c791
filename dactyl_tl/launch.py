"""The training command: Hydra around :func:`dactyl_tl.training.train`, and plain words at the end."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.utilities import rank_zero_only

from dactyl_tl.config_files import config_directory
from dactyl_tl.configuration import check, register_schemas
from dactyl_tl.errors import FAILED, UNUSABLE, ConfigurationError, RankError, TrainingError
from dactyl_tl.estimators.bundles import load_estimator_network
from dactyl_tl.estimators.checkpoints import find_pose_checkpoint
from dactyl_tl.policies import BEST, BUNDLES, CHECKPOINTS, LAST, METRICS, RUN_CONFIG
from dactyl_tl.pose_training import check_pose, train_pose
from dactyl_tl.restoring import actions_of, continuation, network_of, resolve_checkpoint, shown
from dactyl_tl.runs import TrainingResult
from dactyl_tl.training import train

POLICY, POSE = "train", "pose"
"""Primary configurations under ``conf/``; a configuration of the second has a section of its name."""

AUTO = "auto"
"""``resume=auto``: go on in this command's directory, if that run has begun, with this command's settings."""

DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Full, over quota, over a limit, read-only."""


def prepare_hydra() -> None:
    """Register what the files under ``conf/`` refer to; call before composing a configuration."""
    register_schemas()
    OmegaConf.register_new_resolver("run_directory", _run_directory, replace=True)


def main() -> None:
    """Entry point of ``train.py``."""
    prepare_hydra()
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # exceptions instead of Hydra's own report of them
    begun = False

    def run(cfg: DictConfig) -> None:
        nonlocal begun
        begun = True
        _run(cfg)

    try:
        hydra.main(
            version_base="1.3",
            config_path=str(config_directory()),
            config_name=configuration_of(sys.argv[1:]),
        )(run)()
    except (HydraException, OmegaConfBaseException) as error:
        _refuse(explain(error))
    except OSError as error:
        if begun:
            raise
        _refuse(f"cannot write to the run's directory: {error}")


def configuration_of(words: list[str]) -> str:
    """The primary configuration that a command line asks for: ``"pose"`` for the network that sees.

    Which of the two is trained decides which settings there are, so it is known before anything is composed:
    by the experiment's name, or from the run that is resumed.
    """
    chosen = dict(word.lstrip("+").split("=", 1) for word in words if "=" in word)
    if "experiment" in chosen:
        return POSE if chosen["experiment"].split("_")[0] == POSE else POLICY
    resumed = Path(chosen.get("resume", ""))
    run = resumed if resumed.is_dir() else resumed.parent.parent
    if resumed.name and (run / RUN_CONFIG).is_file() and POSE in OmegaConf.load(run / RUN_CONFIG):
        return POSE
    return POLICY


def _run(cfg: DictConfig) -> None:
    try:
        sees = POSE in cfg
        if cfg.resume not in (None, AUTO):
            cfg = resumed_config(cfg, list(HydraConfig.get().overrides.task))
        elif cfg.estimator if sees else cfg.policy:
            cfg = adapted_config(cfg, list(HydraConfig.get().overrides.task))
        if cfg.resume == AUTO:
            run = Path(cfg.output_dir)
            cfg.resume = str(run) if (run / CHECKPOINTS / LAST).exists() else None
        if sees:
            check_pose(cfg)
            _announce_pose(cfg)
            result = train_pose(cfg)
        else:
            check(cfg)
            _announce(cfg)
            result = train(cfg)
    except ConfigurationError as error:
        _discard(Path(cfg.output_dir))
        _refuse(str(error))
    except (TrainingError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in DISK_TROUBLE:
            raise
        _explain_failure(error, Path(cfg.output_dir))
        raise SystemExit(FAILED) from None
    _report(result, sees)
    if result.interrupted is not None:
        raise SystemExit(128 + result.interrupted)


def explain(error: Exception) -> str:
    """One line for an error of composing the configuration: what was asked for, and the choices."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
        group = config_directory() / Path(error.missing_cfg_file).parent
        options = error.options or sorted(each.stem for each in group.glob("*.yaml"))
        return f"there is no {error.missing_cfg_file}; choose from {', '.join(options)}"
    cause = error.__cause__
    if isinstance(cause, OmegaConfBaseException) and cause.full_key and cause.parent_node is not None:
        known = [str(key) for key in cause.parent_node if not str(key).startswith("_")]
        return f"unknown setting {cause.full_key}; choose from {', '.join(known)}"
    return "; ".join(line for line in str(error).splitlines()[:2] if line)


def _refuse(reason: str) -> NoReturn:
    print(f"error: {reason}", file=sys.stderr)
    raise SystemExit(UNUSABLE) from None


def _discard(run: Path) -> None:
    """Remove the directory of a run that did not begin."""
    if run.is_dir() and {each.name for each in run.iterdir()} == {"hydra"}:
        shutil.rmtree(run)


def resumed_config(cfg: DictConfig, overrides: list[str]) -> DictConfig:
    """The configuration of the run that is resumed, with this command's ``overrides`` on top.

    Raises:
        ConfigurationError: there is no such run, or an override asks for another group.
    """
    find = find_pose_checkpoint if POSE in cfg else resolve_checkpoint
    checkpoint = find(cfg.resume, "resume")
    run = checkpoint.parent.parent
    if not (run / RUN_CONFIG).is_file():
        raise ConfigurationError(f"resume={cfg.resume} has no {RUN_CONFIG} in {run}")
    saved = OmegaConf.load(run / RUN_CONFIG)
    assert isinstance(saved, DictConfig)
    for override in overrides:
        key, _, _ = override.lstrip("+").partition("=")
        if key == "resume":
            continue
        if key == "policy" or key in HydraConfig.get().runtime.choices:
            raise ConfigurationError(f"a resumed run keeps its own {key}; leave out {override}")
        OmegaConf.update(saved, key, OmegaConf.select(cfg, key))
    saved.resume, saved.output_dir = str(checkpoint), str(run)
    return saved


def adapted_config(cfg: DictConfig, overrides: list[str]) -> DictConfig:
    """The configuration with the network of what training starts from, and with a policy's kind of actions.

    Where ``overrides`` choose these themselves, that choice stays; an experiment's gives way.

    Raises:
        ConfigurationError: there is no such bundle.
    """
    sees = POSE in cfg
    chosen = {word.lstrip("+").partition("=")[0] for word in overrides}
    if not any(key.split(".")[0] == "network" for key in chosen):
        cfg.network = asdict(load_estimator_network(cfg.estimator).config if sees else network_of(cfg.policy))
    if not sees and "environment.actions" not in chosen:
        for name, value in actions_of(cfg.policy).items():
            if f"environment.actions.{name}" not in chosen:
                cfg.environment.actions[name] = value
    return cfg


def _run_directory(resume: str | None, name: str) -> str:
    """Where a run goes: the resumed run's own directory, else a new one by date and experiment.

    With ``resume=auto`` the experiment's name alone, so that the same command finds it again.
    """
    label = name if name not in ("None", "null") else "train"
    if resume == AUTO:
        return f"runs/{label}"
    if resume and str(resume) not in ("None", "null"):
        path = Path(resume)
        return str(path if path.is_dir() else path.parent.parent)
    return f"runs/{datetime.now():%Y-%m-%d_%H-%M-%S}_{label}"


def _explain_failure(error: Exception, run: Path) -> None:
    """What went wrong, by the rank where it did; how to go on, by rank 0."""
    number = getattr(rank_zero_only, "rank", 0)
    if number:
        if not isinstance(error, RankError):  # which rank 0 sees for itself
            print(f"error: rank {number}: {error}", file=sys.stderr, flush=True)
        return
    print(f"error: {error}", file=sys.stderr)
    hint = continuation(run)
    if hint is not None:
        print(hint, file=sys.stderr)


@rank_zero_only
def _announce(cfg: DictConfig) -> None:
    environment, collection, network = cfg.environment, cfg.collection, cfg.network
    limit = [f"{cfg.minutes:g} min"] if cfg.minutes is not None else []
    limit += [f"{cfg.frames:,} frames"] if cfg.frames is not None else []
    print(
        f"{environment.task}, randomization {environment.randomization}, "
        f"{'relative' if environment.actions.relative else 'absolute'} actions, "
        f"{network.policy} policy of {network.dense} and {network.lstm} units, "
        f"{collection.workers} x {collection.num_envs} simulations ({collection.kind}), "
        f"{' or '.join(limit) or 'until Ctrl-C'}\nrun directory: {shown(Path(cfg.output_dir))}",
        flush=True,
    )


@rank_zero_only
def _announce_pose(cfg: DictConfig) -> None:
    pictures, pose = cfg.pictures, cfg.pose
    limit = [f"{cfg.minutes:g} min"] if cfg.minutes is not None else []
    limit += [f"{cfg.frames:,} sets of pictures"] if cfg.frames is not None else []
    drawn = f"{pictures.cache_sets:,} sets kept in {pictures.cache}" if pictures.cache else "drawn afresh"
    print(
        f"pose of the {cfg.environment.task}, states of {cfg.policy or 'a scripted policy'}, "
        f"{pictures.renderer} pictures {drawn}, batches of {pose.batch_size} sets, "
        f"{pictures.workers} workers, {' or '.join(limit) or 'until Ctrl-C'}\n"
        f"run directory: {shown(Path(cfg.output_dir))}",
        flush=True,
    )


@rank_zero_only
def _report(result: TrainingResult, sees: bool) -> None:
    run = shown(result.run)
    unit, counted = ("batch", "sets of pictures") if sees else ("rollout", "frames")
    if result.interrupted is not None:
        print(f"Stopped by {result.interrupted.name} after a complete {unit}.")
    print(f"{result.frames:,} {counted}, {result.seconds / 60:.1f} min")
    bundle = "best" if (result.run / CHECKPOINTS / BEST).exists() else "last"
    files = {
        "checkpoint": result.checkpoint and Path(run) / CHECKPOINTS / result.checkpoint.name,
        "bundle": Path(run) / BUNDLES / bundle if (result.run / BUNDLES / bundle).exists() else None,
        "curves": Path(run) / "curves.png" if (result.run / "curves.png").exists() else None,
        "metrics": Path(run) / METRICS if (result.run / METRICS).exists() else None,
    }
    for name, path in files.items():
        if path is not None:
            print(f"  {name:<11}{path}")
    if files["bundle"] is not None:
        words = f"suite=pose pose={files['bundle']}" if sees else f"policy={files['bundle']}"
        print(f"  evaluate   python evaluate.py {words}")
    if files["checkpoint"] is not None:
        print(f"  continue   python train.py resume={run}")
