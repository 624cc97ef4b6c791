"""What an evaluation is: every setting of ``evaluate.py`` with its default, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from dactyl_tl.envs import ActionConfig, GoalConfig, InitialStateConfig
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.estimators import shipped_estimators
from dactyl_tl.evaluation.suites import SUITES
from dactyl_tl.protocol import Limits

SIMULATION, HAND = "sim", "hand"
WORLDS = (SIMULATION, HAND)


@dataclass(frozen=True)
class EvaluationSettings:
    """An evaluation.

    Attributes:
        policy: Policies to evaluate, on the same trials: what
            :func:`dactyl_tl.evaluation.policies.find_policies` takes.
        suite: A key of :data:`dactyl_tl.evaluation.suites.SUITES`, which sets policies, task and
            randomizations, or ``pose``, errors of pose estimators; or null.
        world: Where trials run: ``sim``, or the ``hand``, real or a twin.
        hardware: Which hand, a file of ``conf/hardware``, and departures from it; see
            ``hardware/settings.py``.
        observation: Where the object's pose comes from: the simulation's ``state``, or ``vision``.
        pose: Pose estimators, what :func:`dactyl_tl.load_estimator` takes: the one that
            sees for the policies, or in ``suite=pose`` those to measure.
        pictures: Sets of pictures of each kind in ``suite=pose``.
        workers: Processes that draw pictures.
        trials: Trials of each policy (100 in simulation in Table 3).
        parallel: Most trials that run side by side.
        seed: Of initial states, randomizations, goals and sampled actions.
        task: Task of :func:`dactyl_tl.make_env`; null for the one the first policy was trained for.
        randomization: Randomizations of the trials, as for :func:`dactyl_tl.make_env`.
        limits: When a trial ends (section 6.2).
        goals: Departures from ``GoalConfig``: ``kind``, ``angle``, ``tolerance``.
        initial_states: Departures from ``InitialStateConfig``.
        hand: Hand parameters; null for those the first policy was trained with.
        actions: Departures from ``ActionConfig`` for all policies; empty for how each was trained.
        sample_actions: Sample actions, as the paper's policy does, or take the likeliest.
        engine: Physics engine of :func:`dactyl_tl.make_env`.
        max_contacts, max_constraints: What the warp engine makes memory for; null for its defaults.
        threads: Physics threads; 0 for all processors. They change the speed alone.
        device: Of policies and environments.
        video: Whether to write a video of each policy's first trials.
        video_trials: Trials shown side by side.
        video_seconds: Longest video, seconds of simulated time.
        view: Camera of the video: a key of :data:`dactyl_tl.rendering.classic.VIEWS` or a scene camera.
        viewer: Whether to serve a live view of the first trial to the browser of this machine.
        viewer_port: Its port; 0 for the first free one from 8080.
        output: Directory for results.json, trials.csv, results.png and videos.
    """

    policy: tuple[str, ...] = ()
    suite: str | None = None
    world: str = SIMULATION
    hardware: Mapping[str, Any] = field(default_factory=dict)
    observation: str = "state"
    pose: tuple[str, ...] = ()
    pictures: int = 1000
    workers: int = 2
    trials: int = 100
    parallel: int = 100
    seed: int = 0
    task: str | None = None
    randomization: Any = "all"
    limits: Limits = field(default_factory=Limits)
    goals: Mapping[str, Any] = field(default_factory=dict)
    initial_states: Mapping[str, Any] = field(default_factory=dict)
    hand: str | None = None
    actions: Mapping[str, Any] = field(default_factory=dict)
    sample_actions: bool = True
    engine: str = "auto"
    max_contacts: int | None = None
    max_constraints: int | None = None
    threads: int = 0
    device: str = "cpu"
    video: bool = False
    video_trials: int = 4
    video_seconds: float = 30.0
    view: str = "palm"
    viewer: bool = False
    viewer_port: int = 0
    output: str = "outputs/evaluation"

    def __post_init__(self) -> None:
        self._check_vision()
        self._check_world()
        if self.suite is None and not self.policy:
            raise ConfigurationError(
                "policy is not set; for example policy=block_none, or policy=[RUN,untrained]"
            )
        if self.suite is not None:
            self._check_suite()
        whole = {"trials": 1, "parallel": 1, "seed": 0, "threads": 0, "video_trials": 1, "pictures": 1}
        for name, low in (whole | {"workers": 1}).items():
            if getattr(self, name) < low:
                raise ConfigurationError(f"{name} is {getattr(self, name)}; it must be at least {low}")
        if not self.video_seconds > 0:
            raise ConfigurationError(f"video_seconds is {self.video_seconds:g}; it must be positive")
        if not 0 <= self.viewer_port < 65536:
            raise ConfigurationError(f"viewer_port is {self.viewer_port}; it must be 0 to 65535")

    def _check_vision(self) -> None:
        if self.observation not in OBSERVATIONS:
            raise ConfigurationError(
                f"observation is {self.observation!r}; choose from {', '.join(OBSERVATIONS)}"
            )
        if self.observation == "vision" and self.suite is None and len(self.pose) != 1:
            raise ConfigurationError(
                f"observation=vision needs one estimator, pose is {list(self.pose)}; choose from "
                f"{', '.join(shipped_estimators())}, a bundle or a training run"
            )
        if self.pose and self.observation == "state" and self.suite != POSE_SUITE:
            raise ConfigurationError(
                f"pose is {', '.join(self.pose)}, which nobody looks with; set observation=vision"
            )

    def _check_world(self) -> None:
        if self.world not in WORLDS:
            raise ConfigurationError(f"world is {self.world!r}; choose from {', '.join(WORLDS)}")
        if self.world == SIMULATION:
            return
        for name, free in ONLY_SIMULATED.items():
            value = getattr(self, name)
            if value != free:
                raise ConfigurationError(f"{name} is {value}, which world=hand has not; leave out {name}=")

    def _check_suite(self) -> None:
        choices = (*SUITES, POSE_SUITE)
        if self.suite not in choices:
            raise ConfigurationError(f"suite is {self.suite!r}; choose from {', '.join(choices)}")
        if self.observation != "state":
            raise ConfigurationError(
                f"suite={self.suite} chooses its own observation; leave out observation="
            )
        for name, free in (("policy", ()), ("task", None), ("randomization", "all")):
            if getattr(self, name) != free:
                raise ConfigurationError(f"suite={self.suite} chooses its own {name}; leave out {name}=")
        if self.viewer:
            raise ConfigurationError(f"suite={self.suite} has no live view; leave out viewer=")

    @property
    def output_directory(self) -> Path:
        """Where results go."""
        return Path(self.output)


OBSERVATIONS = ("state", "vision")

ONLY_SIMULATED: Mapping[str, Any] = {
    "suite": None, "randomization": "all", "initial_states": {}, "engine": "auto", "video": False,
    "viewer": False,
}  # fmt: skip
"""Settings that only simulated trials have, and their defaults."""

POSE_SUITE = "pose"

_SECTIONS: dict[str, tuple[str, ...]] = {
    # A goal's time and the number of goals follow from the limits.
    "goals": tuple(s.name for s in fields(GoalConfig) if s.name not in ("timeout", "maximum")),
    "initial_states": tuple(s.name for s in fields(InitialStateConfig)),
    "actions": tuple(s.name for s in fields(ActionConfig)),
    "limits": tuple(s.name for s in fields(Limits)),
}
"""Settings with settings of their own; null leaves a default where it stands."""

_GROUPS = ("task", "randomization", "hardware")
"""Settings that are Hydra groups; the first two are shared with training, in the section ``environment``."""


def register_evaluation_schema() -> None:
    """Offer the defaults above to Hydra as ``schema/evaluation``, so that unknown settings are refused."""
    defaults = {
        setting.name: setting.default
        for setting in fields(EvaluationSettings)
        if setting.name not in (*_SECTIONS, *_GROUPS)
    }
    defaults |= {name: dict.fromkeys(names) for name, names in _SECTIONS.items()}
    defaults |= {"policy": None, "pose": None, "limits": asdict(Limits())}
    ConfigStore.instance().store(group="schema", name="evaluation", node=defaults)


def wrong_override(overrides: Sequence[str], groups: Path) -> str | None:
    """What is wrong with the first ``key=value`` that Hydra would refuse in six lines, or None.

    Args:
        overrides: Arguments of the command line.
        groups: Directory of Hydra's groups.
    """
    known = {setting.name for setting in fields(EvaluationSettings)}
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        section, _, name = key.partition(".")
        if override.startswith("-") or section in ("hydra", "environment", ""):
            continue
        if section not in known:
            return f"unknown setting {key}; choose from {', '.join(sorted(known))}"
        names = _hardware_settings(groups) if section == "hardware" else _SECTIONS.get(section, ())
        if name and name not in names:
            return f"unknown setting {key}; settings of {section}: {', '.join(names) or 'none'}"
        if key in _GROUPS:
            words = sorted(path.stem for path in (groups / key).glob("*.yaml"))
            if value not in words:
                return f"{key} is {value!r}; choose from {', '.join(words)}"
    return None


def _hardware_settings(groups: Path) -> list[str]:
    """All that a file of the group sets: another package knows what it means."""
    files = (groups / "hardware").glob("*.yaml")
    return sorted({str(name) for file in files for name in OmegaConf.load(file)})


def read_settings(cfg: DictConfig) -> EvaluationSettings:
    """Check a composed configuration.

    Raises:
        ConfigurationError: With the name of the setting, its value and what would do.
    """
    values = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(values, dict)
    values |= values.pop("environment", {})
    kinds = {setting.name: setting.default for setting in fields(EvaluationSettings)}
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in kinds:
            raise ConfigurationError(f"unknown setting {name}; choose from {', '.join(kinds)}")
        checked[str(name)] = _section(name, value) if name in _SECTIONS else _typed(name, value, kinds[name])
    for name in ("policy", "pose"):
        named = checked.get(name) or ()
        checked[name] = (named,) if isinstance(named, str) else tuple(map(str, named))
    limits = {
        name: _typed(f"limits.{name}", v, getattr(Limits, name))
        for name, v in checked.get("limits", {}).items()
    }
    try:
        return EvaluationSettings(**checked | {"limits": Limits(**limits)})
    except ConfigurationError:
        raise
    except ValueError as error:  # raised by the limits
        raise ConfigurationError(str(error)) from error


def _section(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{name} is {value!r}; it must be settings in braces")
    for key in value:
        if key not in _SECTIONS[name]:
            raise ConfigurationError(
                f"unknown setting {name}.{key}; choose from {', '.join(_SECTIONS[name])}"
            )
    return {key: setting for key, setting in value.items() if setting is not None}


def _typed(name: str, value: Any, default: Any) -> Any:
    """``value`` if it is of the default's type; whole numbers pass for floats."""
    if isinstance(default, bool):
        valid, expected = isinstance(value, bool), "true or false"
    elif isinstance(default, int):
        valid, expected = isinstance(value, int) and not isinstance(value, bool), "a whole number"
    elif isinstance(default, float):
        valid, expected = isinstance(value, (int, float)) and not isinstance(value, bool), "a number"
    elif isinstance(default, str) and name != "randomization":
        valid, expected = isinstance(value, str), "a word"
    else:
        return value
    if not valid:
        raise ConfigurationError(f"{name} is {value!r}; it must be {expected}")
    return value
