"""Names, orders, shapes and units that every part of dactyl_tl agrees on.

Anything that crosses a boundary (environment to network, network to bundle, bundle to hand) is
named here once. Changing an order, a size or a meaning changes :data:`CONTRACT_VERSION`.
"""

from __future__ import annotations

CONTRACT_VERSION = 1

CONTROL_PERIOD = 0.08
"""Seconds between two actions (App. C.1)."""

PHYSICS_STEPS = 10
"""Physics steps in a control step (App. C.1)."""

PHYSICS_TIMESTEP = CONTROL_PERIOD / PHYSICS_STEPS
"""Seconds of one physics step without timing randomization (App. C.1)."""

DROP_DEPTH = 0.1
"""The object is dropped when its centre is this far below the palm's origin, m: 0.04 m above the ground
plane of OpenAI's later environments, which count drops so. Right below the palm the fingers still hold it."""

NUM_BINS = 11
"""Bins of each action coordinate, equally spaced over [-1, 1] (Table 10)."""

FINGERS = ("ff", "mf", "rf", "lf", "th")
"""First (index), middle, ring, little finger and thumb: the order of fingertip positions."""

JOINTS = (
    "WRJ1", "WRJ0",
    "FFJ3", "FFJ2", "FFJ1", "FFJ0",
    "MFJ3", "MFJ2", "MFJ1", "MFJ0",
    "RFJ3", "RFJ2", "RFJ1", "RFJ0",
    "LFJ4", "LFJ3", "LFJ2", "LFJ1", "LFJ0",
    "THJ4", "THJ3", "THJ2", "THJ1", "THJ0",
)  # fmt: skip
"""The 24 hinge joints in the order of qpos and qvel; J0 is the distal joint."""

ACTUATORS = (
    "WRJ1", "WRJ0",
    "FFJ3", "FFJ2", "FFJ1",
    "MFJ3", "MFJ2", "MFJ1",
    "RFJ3", "RFJ2", "RFJ1",
    "LFJ4", "LFJ3", "LFJ2", "LFJ1",
    "THJ4", "THJ3", "THJ2", "THJ1", "THJ0",
)  # fmt: skip
"""The 20 actuators in the order of actions. A finger's J1 drives the sum of its J1 and J0."""

COUPLED = {"FFJ1": "FFJ0", "MFJ1": "MFJ0", "RFJ1": "RFJ0", "LFJ1": "LFJ0"}
"""Actuators that drive two joints: the actuator's own joint and the one it is coupled to."""

NUM_JOINTS = len(JOINTS)
NUM_ACTUATORS = len(ACTUATORS)
NUM_FINGERS = len(FINGERS)

OBSERVATION_SIZES = {
    "fingertip_positions": 3 * NUM_FINGERS,
    "object_position": 3,
    "object_orientation": 4,
    "target_orientation": 4,
    "relative_target_orientation": 4,
    "joint_angles": NUM_JOINTS,
    "joint_velocities": NUM_JOINTS,
    "object_velocity": 3,
    "object_angular_velocity": 4,
}
"""Size of each input of Table 2.

Positions are metres and velocities metres per second, in the hand-base frame; quaternions are
(w, x, y, z); angles are radians. ``relative_target_orientation`` is the rotation that takes the
object to its target, expressed in the hand-base frame. ``object_angular_velocity`` is, as in the
paper, a quaternion: the rotation that the object makes in one control period at its present rate.
"""

POLICY_INPUTS = ("fingertip_positions", "object_position", "relative_target_orientation")
"""Noisy inputs of the policy (Table 2, which leaves the object's orientation out)."""

PRIVILEGED_INPUTS = tuple(OBSERVATION_SIZES)
"""Noiseless inputs of the value network (Table 2)."""

POLICY = "policy"
PRIVILEGED = "privileged"
"""First part of the nested tensordict keys, as in ``("policy", "object_position")``."""

STEPS, STATES, SIMULATION = "steps", "states", "simulation"
"""Entries of a collected rollout ``[N, chunks]``: its steps ``[N, chunks, T]``, the policy's recurrent
states before each chunk ``[N, chunks]``, and the number of the simulation, int64, counted through all
workers."""

CAMERAS = ("camera:left", "camera:front", "camera:right")
"""The cameras that look at the object, in the order of a set of pictures."""

PICTURE_SIZE = 200
"""Edge of the square pictures that a pose network sees, pixels (Table 11)."""

REWARD_TERMS = ("rotation", "success", "drop", "dense")
"""Parts of the reward, each weighted, under ``("reward_terms", name)``; their sum is ``reward``."""


def policy_keys() -> list[tuple[str, str]]:
    """Tensordict keys of the policy's inputs, in the order the network concatenates them."""
    return [(POLICY, name) for name in POLICY_INPUTS]


def privileged_keys() -> list[tuple[str, str]]:
    """Tensordict keys of the value network's inputs, in the order the network concatenates them."""
    return [(PRIVILEGED, name) for name in PRIVILEGED_INPUTS]
