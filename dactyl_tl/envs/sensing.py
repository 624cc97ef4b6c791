"""From the state to the policy's inputs: misplaced markers, noise, and markers that are lost for a while."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dactyl_tl import rotations
from dactyl_tl.contract import FINGERS, NUM_FINGERS
from dactyl_tl.envs.memory import assign
from dactyl_tl.envs.observations import HandState, Measurement, measure
from dactyl_tl.randomization import EpisodeSampler
from dactyl_tl.randomization.observation_noise import fit_frame
from dactyl_tl.randomization.tracking import boxes_meet_capsules, boxes_overlap
from dactyl_tl.simulation.hand import MOUNT_POSITION
from dactyl_tl.simulation.physics import Physics
from dactyl_tl.simulation.scene import Scene


class Sensing:
    """Measures simulations as motion capture would, with the episode's errors.

    Attributes:
        memory: what outlasts a step: ``reading`` (n, 15) m, the fingertips' last reading; ``lost_for``
            (n, 5) s, how long each marker stays dropped; ``frame_orientation`` (n, 4) and
            ``frame_origin`` (n, 3) m, the hand-base frame as its markers define it.
    """

    def __init__(self, scene: Scene, physics: Physics, sampler: EpisodeSampler) -> None:
        self._physics = physics
        self._sampler = sampler
        self._occlusion = Occlusion(scene, physics)
        n, device = physics.num_worlds, physics.qpos.device
        mount = torch.tensor(MOUNT_POSITION, device=device)
        self._layout = physics.site_xpos[0, scene.reference_sites].float() - mount
        self._off = sampler.groups.unmodeled == 0.0
        self.memory = {
            "reading": torch.zeros(n, 3 * NUM_FINGERS, device=device),
            "lost_for": torch.zeros(n, NUM_FINGERS, device=device),
            "frame_orientation": torch.zeros(n, 4, device=device),
            "frame_origin": torch.zeros(n, 3, device=device),
        }

    def start(
        self, state: HandState, parameters: Mapping[str, Tensor], mask: Tensor, generator: torch.Generator
    ) -> Measurement:
        """First measurement of an episode, for the simulations in ``mask`` (n,)."""
        orientation, origin = fit_frame(self._layout, self._layout + parameters["hand_base_markers"])
        assign(self.memory, {"frame_orientation": orientation, "frame_origin": origin}, mask)
        measured = self._noisy(state, parameters, generator)
        lost_for = torch.zeros_like(self.memory["lost_for"])
        assign(self.memory, {"reading": measured.fingertips, "lost_for": lost_for}, mask)
        return measured

    def sense(
        self,
        state: HandState,
        parameters: Mapping[str, Tensor],
        elapsed: Tensor,
        mask: Tensor,
        generator: torch.Generator,
    ) -> Measurement:
        """Measurement after a control step of ``elapsed`` (n, 1) s, for the simulations in ``mask`` (n,)."""
        measured = self._noisy(state, parameters, generator)
        if self._off:
            return measured
        lost_for = self._sampler.tracking.drop(
            self.memory["lost_for"], parameters["marker_dropout_rate"], elapsed, generator
        )
        occluded = self._occlusion.occluded() & parameters["marker_occlusion"]
        lost = ((lost_for > 0.0) | occluded).repeat_interleave(3, dim=1)
        reading = torch.where(lost, self.memory["reading"], measured.fingertips)
        assign(self.memory, {"reading": reading, "lost_for": lost_for}, mask)
        return Measurement(reading, measured.object_position, measured.object_orientation)

    def _noisy(
        self, state: HandState, parameters: Mapping[str, Tensor], generator: torch.Generator
    ) -> Measurement:
        measured = measure(
            state,
            parameters["fingertip_markers"],
            self.memory["frame_orientation"],
            self.memory["frame_origin"],
        )
        fingertips, position, turn = self._sampler.observation_noise.noise(
            parameters["observation_noise"], generator
        )
        turn = rotations.from_rotation_vector(parameters["object_orientation"] + turn)
        return Measurement(
            fingertips=measured.fingertips + parameters["fingertip_positions"] + fingertips,
            object_position=measured.object_position + parameters["object_position"] + position,
            object_orientation=rotations.multiply(turn, measured.object_orientation),
        )


class Occlusion:
    """Which nails' boxes are touched by the object or by another finger."""

    def __init__(self, scene: Scene, physics: Physics) -> None:
        model, device = scene.model, physics.qpos.device
        self._physics = physics
        self._nails = torch.from_numpy(scene.nail_sites).to(device)
        self._nail_half = torch.tensor(model.site_size[scene.nail_sites], device=device).float()
        self._object_geoms = torch.from_numpy(scene.object_geoms).to(device)
        others = [scene.finger_geoms[scene.finger_of != finger] for finger in range(len(FINGERS))]
        self._capsules = torch.tensor([list(geoms) for geoms in others], device=device)  # (5, 12)
        size = torch.tensor(model.geom_size, device=device).float()[self._capsules]
        self._radius, self._half_length = size[..., 0], size[..., 1]

    def occluded(self) -> Tensor:
        """(n, 5) bool, in the order of :data:`dactyl_tl.contract.FINGERS`."""
        physics = self._physics
        centre = physics.site_xpos[:, self._nails].float()
        axes = physics.site_xmat[:, self._nails].float().unflatten(-1, (3, 3))
        boxes = self._object_geoms
        by_object = boxes_overlap(
            centre, axes, self._nail_half,
            physics.geom_xpos[:, boxes].float(),
            physics.geom_xmat[:, boxes].float().unflatten(-1, (3, 3)),
            physics.field("geom_size")[:, boxes].float(),
        )  # fmt: skip
        capsule_axis = physics.geom_xmat.unflatten(-1, (3, 3))[..., 2].float()
        by_finger = boxes_meet_capsules(
            centre, axes, self._nail_half,
            physics.geom_xpos.float()[:, self._capsules],
            capsule_axis[:, self._capsules] * self._half_length[..., None],
            self._radius,
        )  # fmt: skip
        return by_object.any(dim=-1) | by_finger.any(dim=-1)
