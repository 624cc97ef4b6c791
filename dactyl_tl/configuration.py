"""From Hydra's configuration to checked settings, before anything is built.

A default stands in the dataclass it belongs to. :func:`register_schemas` offers these defaults to
Hydra as ``schema/<name>``, so that the files under ``conf/`` hold departures only and unknown keys
are refused.
"""

from __future__ import annotations

import importlib.util
import math
import re
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from dactyl_tl.envs.config import ActionConfig, InitialStateConfig, RewardConfig
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.goals import GoalConfig
from dactyl_tl.learning import PPOConfig, check_compilable
from dactyl_tl.learning.pose import PoseConfig
from dactyl_tl.models import NetworkConfig, check_backend
from dactyl_tl.models.config import PoseNetworkConfig
from dactyl_tl.randomization import resolve_randomization
from dactyl_tl.randomization.images import ImageRandomization
from dactyl_tl.simulation.engines import ENGINES, resolve_engine
from dactyl_tl.simulation.hand import HANDS
from dactyl_tl.simulation.scene import TASKS
from dactyl_tl.vision.config import PictureConfig
from dactyl_tl.vision.poses import PoseAugmentation

COLLECTIONS = ("multiprocess", "inprocess", "asynchronous", "ray")
COLLECTION_DEVICES = ("cpu", "learner")
ADDRESS = re.compile(r"auto|[^\s/:]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")


@dataclass(frozen=True)
class CollectionConfig:
    """How experience is collected.

    Args:
        kind: ``"multiprocess"``: worker processes in step with the learner; ``"inprocess"``: no
            processes; ``"asynchronous"``: workers go on acting while the learner learns; ``"ray"``: workers
            are Ray actors on any number of machines.
        workers: batches of simulations, each with a process of its own unless in-process; with several
            ranks, of each rank.
        num_envs: simulations of each worker.
        steps: control steps of each simulation in a rollout, a multiple of ``ppo.chunk``.
        threads: of the physics and of torch in each worker.
        learner_threads: of torch in the learner; 0 leaves torch's choice. For networks of a laptop's
            size one thread is as fast as two, and on a machine that is busy with other things, where
            every operation waits for its slowest thread, many times faster (20 times was measured).
        window: episodes that logged averages are taken over.
        device: where the policy acts and rollouts are kept: ``"cpu"``, or ``"learner"``: wherever the
            learner is, which only in-process collection can do. Where the simulations are is the
            environment's own matter.
        keep_simulations: whether checkpoints hold the simulations, some 10 KB each, from which a
            resumed run continues bit for bit; otherwise it begins new episodes.
        patience: s without a sign of life after which a worker, an actor or a rank counts as lost; longer
            than any rollout takes, and than anything that one rank does while the others wait, as an
            evaluation.
        address: of a Ray cluster, ``"host:port"``, or ``"auto"`` for the one this machine belongs to;
            null starts one on this machine, for it alone.
        max_age: versions that a rollout from Ray may be behind the newest weights when it arrives; older
            ones are dropped. 0 makes actors wait for every update, as ``"multiprocess"`` does.
        gpus: of each Ray actor, for ``environment.device=cuda``; a share is possible.
    """

    kind: str = "multiprocess"
    workers: int = 2
    num_envs: int = 128
    steps: int = 20
    threads: int = 1
    learner_threads: int = 1
    window: int = 200
    device: str = "cpu"
    keep_simulations: bool = True
    patience: float = 300.0
    address: str | None = None
    max_age: int = 2
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in COLLECTIONS:
            raise ValueError(f"collection.kind is {self.kind!r}; choose from {', '.join(COLLECTIONS)}")
        if self.device not in COLLECTION_DEVICES:
            choices = ", ".join(COLLECTION_DEVICES)
            raise ValueError(f"collection.device is {self.device!r}; choose from {choices}")
        if self.device != "cpu" and self.kind != "inprocess":
            raise ValueError(
                f"collection.device is {self.device!r}, which collection.kind={self.kind} cannot do; "
                "set collection=inprocess or collection.device=cpu"
            )
        for name in ("workers", "num_envs", "steps", "threads", "window"):
            if getattr(self, name) < 1:
                raise ValueError(f"collection.{name} is {getattr(self, name)!r}; it must be at least 1")
        for name in ("learner_threads", "max_age", "gpus"):
            if getattr(self, name) < 0:
                raise ValueError(f"collection.{name} is {getattr(self, name)!r}; it must be at least 0")
        if not self.patience > 0:
            raise ValueError(f"collection.patience is {self.patience!r}; it must be above 0")
        if self.address is not None and not ADDRESS.fullmatch(self.address):
            raise ValueError(f"collection.address is {self.address!r}; it must be auto, host:port or null")
        if self.kind != "ray" and (self.address is not None or self.gpus):
            name = "address" if self.address is not None else "gpus"
            raise ValueError(
                f"collection.{name} is {getattr(self, name)!r}, which collection.kind={self.kind} has no use "
                "for; set collection=ray"
            )

    @property
    def rollout_frames(self) -> int:
        """Environment frames of a rollout."""
        return self.workers * self.num_envs * self.steps


SCHEMAS: dict[str, type] = {
    "collection": CollectionConfig,
    "network": NetworkConfig,
    "ppo": PPOConfig,
    "goals": GoalConfig,
    "reward": RewardConfig,
    "actions": ActionConfig,
    "initial_states": InitialStateConfig,
}
"""Sections of the configuration that a dataclass defines."""

ENVIRONMENT_SECTIONS = ("goals", "reward", "actions", "initial_states")

POSE_SCHEMAS: dict[str, type] = {
    "pictures": PictureConfig,
    "poses": PoseAugmentation,
    "images": ImageRandomization,
    "network": PoseNetworkConfig,
    "pose": PoseConfig,
}
"""Sections of ``conf/pose.yaml`` that a dataclass defines."""

Section = TypeVar("Section")


def register_schemas() -> None:
    """Offer the dataclasses' defaults to Hydra; call before ``hydra.main`` or ``compose``."""
    store = ConfigStore.instance()
    pose = {("pose_network" if name == "network" else name): kind for name, kind in POSE_SCHEMAS.items()}
    for name, section in (SCHEMAS | pose).items():
        defaults = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(section()).items()
        }
        store.store(group="schema", name=name, node=defaults)


@dataclass(frozen=True)
class Settings:
    """What a training run is, checked.

    Attributes:
        environment: keyword arguments of :func:`dactyl_tl.make_env`, and ``_target_``.
        minutes: wall-clock limit of the training itself, or None.
        frames: limit in environment frames, or None.
    """

    seed: int
    environment: dict[str, Any]
    network: NetworkConfig
    ppo: PPOConfig
    collection: CollectionConfig
    minutes: float | None
    frames: int | None


def check(cfg: DictConfig) -> Settings:
    """Check every setting against its dataclass and against the others.

    Raises:
        ConfigurationError: with the name, the value and the choices.
    """
    environment: dict[str, Any] = OmegaConf.to_container(cfg.environment, resolve=True)  # type: ignore[assignment]
    try:
        for name in ENVIRONMENT_SECTIONS:
            build(SCHEMAS[name], environment.get(name) or {}, f"environment.{name}")
        resolve_randomization(environment["randomization"])
        check_names(environment)
        check_backend(str(cfg.network.get("backend", "auto")))
        frames = None if cfg.frames is None else number(cfg.frames, "frames", low=1, whole=True)
        ppo: dict[str, Any] = OmegaConf.to_container(cfg.ppo, resolve=True)  # type: ignore[assignment]
        if ppo.get("anneal_frames") is None:
            ppo["anneal_frames"] = frames
        settings = Settings(
            seed=number(cfg.seed, "seed", low=0, whole=True),
            environment=environment,
            network=build(NetworkConfig, cfg.network, "network"),
            ppo=build(PPOConfig, ppo, "ppo"),
            collection=build(CollectionConfig, cfg.collection, "collection"),
            minutes=None if cfg.minutes is None else number(cfg.minutes, "minutes", low=0.0),
            frames=frames,
        )
        if settings.ppo.compile:
            check_compilable(settings.network)
    except ConfigurationError:
        raise
    except ValueError as error:  # raised by a dataclass that refuses a value
        raise ConfigurationError(str(error)) from error
    _check_sizes(settings)
    if settings.collection.kind == "ray" and importlib.util.find_spec("ray") is None:
        raise ConfigurationError(
            'collection.kind is ray, which is not installed; pip install "dactyl_tl[cluster]"'
        )
    return settings


def build(section: type[Section], values: Any, name: str) -> Section:
    """A ``section`` dataclass from a mapping of its fields.

    Raises:
        ConfigurationError: an unknown field or a value of the wrong type.
        ValueError: a value that the dataclass refuses.
    """
    if isinstance(values, DictConfig):
        values = OmegaConf.to_container(values, resolve=True)
    hints = get_type_hints(section)
    known = [field.name for field in fields(section)]  # type: ignore[arg-type]
    settings = {}
    for key, value in values.items():
        if key not in known:
            raise ConfigurationError(f"unknown setting {name}.{key}; choose from {', '.join(known)}")
        settings[key] = _converted(value, hints[key], f"{name}.{key}")
    return section(**settings)


def number(value: Any, name: str, low: float = -math.inf, whole: bool = False) -> Any:
    """``value`` if it is a number of at least ``low``, whole where asked."""
    _converted(value, int if whole else float, name)
    if value < low:
        raise ConfigurationError(f"{name} is {value!r}; it must be at least {low}")
    return value


def _converted(value: Any, hint: Any, name: str) -> Any:
    """``value`` as the type ``hint`` of a field; no guessing beyond whole numbers for floats."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for option in options:
        if option is type(None) and value is None:
            return None
        if get_origin(option) is tuple and isinstance(value, (list, tuple)):
            parts = get_args(option)
            if len(parts) == len(value):
                return tuple(_converted(v, part, name) for v, part in zip(value, parts, strict=True))
        if option is bool and isinstance(value, bool):
            return value
        if option is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        if option is int and isinstance(value, int) and not isinstance(value, bool):
            return value
        if option is str and isinstance(value, str):
            return value
    expected = " or ".join(_WORDS.get(option, "a list of numbers") for option in options)
    raise ConfigurationError(f"{name} is {value!r}; it must be {expected}")


_WORDS = {
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "a word",
    type(None): "null",
}


def check_names(environment: Mapping[str, Any]) -> None:
    """See that names in the section ``environment`` are known ones.

    Raises:
        ConfigurationError: with the choices.
    """
    for key, choices in (("task", TASKS), ("hand", HANDS), ("engine", ENGINES)):
        if environment.get(key, next(iter(choices))) not in choices:
            raise ConfigurationError(
                f"environment.{key} is {environment[key]!r}; choose from {', '.join(choices)}"
            )
    resolve_engine(environment.get("engine", "auto"), environment.get("device", "cpu"))
    for key in ("max_contacts", "max_constraints"):
        if environment.get(key) is not None:
            number(environment[key], f"environment.{key}", low=1, whole=True)


def _check_sizes(settings: Settings) -> None:
    """Sizes that have to fit each other."""
    steps, chunk = settings.collection.steps, settings.ppo.chunk
    if steps % chunk:
        raise ConfigurationError(f"collection.steps is {steps}; it must be a multiple of ppo.chunk={chunk}")
    chunks = settings.collection.rollout_frames // chunk
    if chunks < settings.ppo.minibatches:
        raise ConfigurationError(
            f"ppo.minibatches is {settings.ppo.minibatches}; a rollout of collection.workers="
            f"{settings.collection.workers} x num_envs={settings.collection.num_envs} x "
            f"steps={steps} has only {chunks} chunks of {chunk}"
        )
