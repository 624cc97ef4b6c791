"""The hand in a simulation's state, drawn with MuJoCo's classic OpenGL renderer."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import mujoco
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from dactyl_tl.rendering.closing import Closing
from dactyl_tl.rendering.offscreen import Offscreen, check_renderer
from dactyl_tl.rendering.scene import COLLISION_GROUP, GOAL_BODY, HIDDEN_GROUP, build_visual_model


@dataclass(frozen=True)
class View:
    """Where a free camera stands.

    Attributes:
        target: The point it looks at, m.
        distance: From that point, m.
        azimuth: About the vertical, degrees.
        elevation: Negative looks down, degrees.
    """

    target: tuple[float, float, float]
    distance: float
    azimuth: float
    elevation: float

    def camera(self) -> mujoco.MjvCamera:
        """A free camera that stands there."""
        camera = mujoco.MjvCamera()
        camera.lookat[:] = self.target
        camera.distance, camera.azimuth, camera.elevation = self.distance, self.azimuth, self.elevation
        return camera


VIEWS: MappingProxyType[str, View] = MappingProxyType(
    {
        "palm": View((1.02, 0.905, 0.195), 0.42, 62.0, -38.0),
        "front": View((1.02, 0.91, 0.20), 0.44, 90.0, -48.0),
        "fingers": View((0.992, 0.87, 0.185), 0.28, 80.0, -50.0),
        "top": View((1.03, 0.95, 0.20), 0.50, 90.0, -80.0),
        "whole": View((1.03, 1.0, 0.16), 0.68, 60.0, -32.0),
    }
)
"""Named views; the scene's cameras (``camera:left``, ...) are views, too."""


class HandRenderer(Closing):
    """Draws hand, object and goal. Use it from one thread, and close it.

    Args:
        task: Key of :data:`dactyl_tl.simulation.scene.TASKS`.
        width: Picture width, pixels.
        height: Picture height, pixels.
        view: A view, a key of :data:`VIEWS`, or the name of one of the scene's cameras.
        supersample: Draw this many times larger in both directions and scale down: smooth edges.
        hand: Hand parameters of the simulation.

    Raises:
        ValueError: Unknown task, hand or view, or a picture that is too large.
        RendererError: There is no working OpenGL; the message names the packages to install.
    """

    def __init__(
        self,
        task: str = "block",
        *,
        width: int = 640,
        height: int = 480,
        view: str | View = "palm",
        supersample: int = 2,
        hand: str = "gymnasium_robotics",
    ) -> None:
        check_renderer()
        self.model = build_visual_model(task, hand=hand)
        self.data = mujoco.MjData(self.model)
        self.size = width, height
        self._camera = self._find_camera(view)
        self._options = mujoco.MjvOption()
        self._options.geomgroup[[COLLISION_GROUP, HIDDEN_GROUP]] = 0
        self._options.sitegroup[:] = 0
        self._goal = self.model.body(GOAL_BODY).mocapid[0]
        self._goal_geom = self.model.body(GOAL_BODY).geomadr[0]
        self._screen = Offscreen(self.model, width * supersample, height * supersample)

    def render(self, qpos: ArrayLike, goal: ArrayLike | None = None) -> NDArray[np.uint8]:
        """Draw one state.

        Args:
            qpos: Joint angles, then the object's position and orientation, (31,), as simulated.
            goal: Orientation to achieve, world frame, wxyz, (4,); None draws no goal.

        Returns:
            RGB picture, (height, width, 3), top row first.

        Raises:
            ValueError: Wrong shapes, or numbers that are not finite.
        """
        self.data.qpos[:] = _checked(qpos, self.model.nq, "qpos")
        alpha = 0 if goal is None else 1
        if goal is not None:
            self.data.mocap_quat[self._goal] = _checked(goal, 4, "goal")
        self.model.geom_group[self._goal_geom] = 0 if alpha else HIDDEN_GROUP
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        mujoco.mjv_updateScene(
            self.model, self.data, self._options, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL,
            self._screen.scene,
        )  # fmt: skip
        self._lift_goal_shadow()
        picture = self._screen.draw()
        if picture.shape[1::-1] == self.size:
            return picture
        return np.asarray(Image.fromarray(picture).resize(self.size, Image.Resampling.BOX))

    def _lift_goal_shadow(self) -> None:
        """The goal is not there, so it casts no shadow; decoration casts none."""
        for geom in self._screen.scene.geoms[: self._screen.scene.ngeom]:
            if geom.objtype == mujoco.mjtObj.mjOBJ_GEOM and geom.objid == self._goal_geom:
                geom.category = mujoco.mjtCatBit.mjCAT_DECOR

    def close(self) -> None:
        """Free the OpenGL context; closing twice is fine."""
        self._screen.close()

    def _find_camera(self, name: str | View) -> mujoco.MjvCamera:
        fixed = [self.model.camera(i).name for i in range(self.model.ncam)]
        if name in fixed:
            camera = mujoco.MjvCamera()
            camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
            camera.fixedcamid = fixed.index(name)
            return camera
        if isinstance(name, View):
            return name.camera()
        if name in VIEWS:
            return VIEWS[name].camera()
        raise ValueError(f"Unknown view {name!r}; choose one of {', '.join([*VIEWS, *fixed])}.")


def _checked(values: ArrayLike, size: int, name: str) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (size,) or not np.isfinite(array).all():
        raise ValueError(f"{name} must be {size} finite numbers, got shape {array.shape}: {array}")
    return array
