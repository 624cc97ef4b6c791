"""A simulated world whose object is seen: its pose comes from pictures instead of the simulation."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict
from torch import Tensor

from dactyl_tl.contract import POLICY
from dactyl_tl.envs import ReorientEnv
from dactyl_tl.envs.observations import relative_orientation
from dactyl_tl.errors import ConfigurationError
from dactyl_tl.estimators.bundles import PoseEstimator
from dactyl_tl.evaluation.worlds import SimulatedWorld
from dactyl_tl.rendering.offscreen import check_renderer
from dactyl_tl.simulation.scene import TASKS
from dactyl_tl.vision.artists import Artists, this_artist
from dactyl_tl.vision.drawing import Drawing


class SeeingWorld(SimulatedWorld):
    """Trials in which the policy sees the estimator's pose, from the classic renderer's nominal pictures.

    Fingertips, which motion capture measures, stay as the simulation has them, noise included. What is seen
    replaces the object's noisy position and orientation; it is off by the estimator's own errors.

    Args:
        env: See :class:`~dactyl_tl.evaluation.worlds.SimulatedWorld`.
        estimator: That sees.
        task: Of the simulation, to be drawn.
        workers: Processes that draw, each some of the trials.

    Raises:
        ConfigurationError: The estimator sees another object.
        RendererError: There is no working OpenGL.
    """

    def __init__(
        self,
        env: ReorientEnv,
        estimator: PoseEstimator,
        task: str,
        *,
        workers: int,
    ) -> None:
        check_object(estimator, task)
        check_renderer()
        super().__init__(env)
        self._estimator = estimator
        drawing = Drawing(task, "classic", randomized=False, look=estimator.look)
        self._workers = workers
        self._artists = Artists(drawing, workers)
        self._seen: tuple[Tensor, Tensor] | None = None

    def observe(self) -> TensorDict:
        """The policy's inputs with the pose that is seen; see :class:`~dactyl_tl.evaluation.worlds.World`."""
        observed = super().observe()
        running = ~self._current()["done"][:, 0].cpu()
        position, orientation = self._look(self.qpos(), running)
        goals = self.goals()
        observed[POLICY, "object_position"] = position.to(goals.device)
        observed[POLICY, "relative_target_orientation"] = relative_orientation(
            goals, orientation.to(goals.device)
        )
        return observed

    def _look(self, qpos: Tensor, running: Tensor) -> tuple[Tensor, Tensor]:
        """Seen poses of all trials; of those that have ended, what was seen last."""
        if self._seen is None:
            running = torch.ones_like(running)
        chosen = running.nonzero().flatten()
        parts = [(part,) for part in qpos[chosen].chunk(self._workers) if len(part)]
        if parts:
            pictures = torch.from_numpy(np.concatenate(list(self._artists.map(_draw, parts))))
            seen = self._estimator(pictures)
            if self._seen is None:
                self._seen = seen
            else:
                for whole, part in zip(self._seen, seen, strict=True):
                    whole[chosen] = part
        assert self._seen is not None
        return self._seen[0].clone(), self._seen[1].clone()

    def begin(self, seed: int) -> None:
        """Draw N new trials; nothing of them has been seen."""
        self._seen = None
        super().begin(seed)

    def close(self) -> None:
        """Free simulations and renderers."""
        self._artists.close()
        super().close()


def check_object(estimator: PoseEstimator, task: str) -> None:
    """See that ``estimator`` knows the object of ``task``.

    Raises:
        ConfigurationError: It sees another one.
    """
    seen, wanted = TASKS[estimator.task].object_name, TASKS[task].object_name
    if seen != wanted:
        raise ConfigurationError(
            f"the pose estimator sees the {seen}, task={task} needs one for the {wanted}"
        )


def _draw(qpos: Tensor) -> NDArray[np.uint8]:
    return this_artist().draw(qpos, torch.Generator())[0]  # nothing is drawn from it for nominal looks
