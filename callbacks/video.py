"""Pictures of what the policy does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import WandbLogger
from tensordict import TensorDictBase

from callbacks.evaluation import ON_CPU, acting_copy
from callbacks.schedule import Schedule
from dactyl_tl.contract import CONTROL_PERIOD, PRIVILEGED
from dactyl_tl.envs import ReorientEnv, make_env
from dactyl_tl.models import DeployedPolicy
from dactyl_tl.rendering.classic import HandRenderer
from dactyl_tl.rendering.video import VideoWriter, caption


class RolloutVideo(Callback):
    """Film one simulation now and then; mp4 files on disk, and at Weights & Biases if that is logged to.

    Args:
        directory: of the files, which are named after the frames.
        environment: the run's environment settings.
        minutes: between two videos.
        seconds: of simulated time in a video.
        width: of the pictures, pixels.
        height: of the pictures, pixels.
        view: of the renderer.
        seed: of the simulation and of the actions.
    """

    def __init__(
        self,
        directory: str | Path,
        environment: Mapping[str, Any],
        minutes: float = 30.0,
        seconds: float = 15.0,
        width: int = 480,
        height: int = 360,
        view: str = "palm",
        seed: int = 2_000_000,
    ) -> None:
        self.directory = Path(directory)
        self._schedule = Schedule(minutes)
        self._steps = max(1, round(seconds / CONTROL_PERIOD))
        self._seed = seed
        self._settings = {key: value for key, value in environment.items() if key != "_target_"}
        self._env: ReorientEnv | None = None
        # Built now, so that a machine without OpenGL says so before training starts.
        self._renderer = HandRenderer(
            self._settings["task"], width=width, height=height, view=view, hand=self._settings["hand"]
        )

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Film if it is time."""
        if not self._schedule.due or not trainer.is_global_zero:
            return
        frames = int(pl_module.frames)  # type: ignore[arg-type]
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / f"{frames:012d}.mp4"
        self._film(DeployedPolicy(acting_copy(pl_module)), path)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_video("rollout", [str(path)], step=frames, format=["mp4"])
        self._schedule.done()

    def _film(self, policy: DeployedPolicy, path: Path) -> None:
        if self._env is None:
            self._env = make_env(**(self._settings | ON_CPU), num_envs=1, seed=self._seed)
        with torch.random.fork_rng(devices=[]), VideoWriter(path) as video:
            torch.manual_seed(self._seed)
            self._env.set_seed(self._seed)

            def show(env: ReorientEnv, now: TensorDictBase) -> None:
                goal = now[PRIVILEGED, "target_orientation"][0].double().numpy()
                picture = self._renderer.render(env.physics.qpos[0].cpu().double().numpy(), goal)
                video.write(caption(picture, f"{int(now['successes'][0])} goals"))

            self._env.rollout(self._steps, policy, callback=show, break_when_any_done=False)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Free simulation and renderer."""
        self._renderer.close()
        if self._env is not None:
            self._env.close()
            self._env = None
