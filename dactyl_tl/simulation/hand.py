"""The Shadow Hand: gymnasium-robotics' MJCF, edited with MjSpec, and its two sets of parameters.

Nothing is copied or downloaded: the MJCF and meshes are read from the installed
``gymnasium_robotics`` package. Edits that every hand gets:

- The spatially meaningless position tendons go. One fixed tendon per finger measures J1 + J0 and
  carries the actuator of the coupled pair; a second one keeps J1 - J0 in range, so that the distal
  joint never flexes further than the middle one.
- Marker sites on fingertips and forearm, and an occlusion box on the back of each nail.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import mujoco
import numpy as np

from dactyl_tl.contract import COUPLED, FINGERS

PREFIX = "robot0:"
"""Prefix of the hand's names in gymnasium-robotics' MJCF."""

PALM_BODY = f"{PREFIX}palm"
FOREARM_BODY = f"{PREFIX}forearm"

MOUNT_POSITION = (1.0, 1.25, 0.15)
"""World position of the hand mount, m (gymnasium-robotics); origin of the hand-base frame."""

COUPLED_DIFFERENCE_RANGE = (0.0, 1.6)
"""J1 - J0 of a coupled pair, rad (published with OpenAI's later environments)."""

COUPLED_SUM_RANGE = (0.0, 3.1416)
"""Control range of a coupled pair's actuator: J1 + J0, rad (as above)."""

FINGERTIP_MARKER = MappingProxyType(
    {finger: (0.0, 0.004, 0.027) for finger in ("ff", "mf", "rf", "lf")} | {"th": (0.007, 0.0, 0.028)}
)
"""Marker positions in the distal link's frame, m (published with OpenAI's later environments)."""

REFERENCE_FRAME_POSITION = (0.046, -0.035, 0.216)
REFERENCE_MARKERS = ((0.007, -0.009, -0.006), (0.085, -0.009, -0.006), (0.085, -0.009, -0.084))
"""Reference markers in a frame on the forearm, m (as above)."""

LOCKED_WRIST = -0.32
"""Angle of WRJ0 where it is locked, rad. The paper gives none; gymnasium-robotics' hand begins here. At zero
the block lies on the palm, out of the fingers' reach (docs/log.md)."""

NAIL_BOX_FINGER = ((0.0, 0.0085, 0.018), (0.005, 0.002, 0.007))
NAIL_BOX_THUMB = ((0.0105, 0.0, 0.020), (0.002, 0.005, 0.007))
"""Centre and half-sizes of the occlusion box on the back of a nail, in the distal link's frame, m."""


@dataclass(frozen=True)
class ActuatorParameters:
    """Position servo: torque = kp (target - angle) - kp * derivative_time * velocity, clamped."""

    kp: float  # Nm/rad
    derivative_time: float  # s
    torque_limit: float  # Nm
    control_range: tuple[float, float]  # rad


@dataclass(frozen=True)
class JointParameters:
    """Passive properties of a hinge."""

    damping: float  # Nm s/rad
    frictionloss: float  # Nm
    range: tuple[float, float]  # rad
    stiffness: float = 0.0  # Nm/rad


_A, _J = ActuatorParameters, JointParameters
CALIBRATED_ACTUATORS = MappingProxyType(
    {
        "WRJ1": _A(1.93928, 0.0014, 0.179403, (-0.4887, 0.1396)),
        "WRJ0": _A(11.2903, 0.0042, 0.995821, (-0.6981, 0.4887)),
        "FFJ3": _A(0.144914, 0.004, 0.022214, (-0.3491, 0.3491)),
        "FFJ2": _A(0.446117, 0.005, 0.154886, (0, 1.5708)),
        "FFJ1": _A(9.13821, 0.001, 0.465773, COUPLED_SUM_RANGE),
        "MFJ3": _A(0.260386, 0.0038, 0.023497, (-0.3491, 0.3491)),
        "MFJ2": _A(10.6196, 0.005, 0.333761, (0, 1.5708)),
        "MFJ1": _A(9.05985, 0.001, 0.616938, COUPLED_SUM_RANGE),
        "RFJ3": _A(1.5189, 0.0035, 0.128881, (-0.3491, 0.3491)),
        "RFJ2": _A(1.99187, 0.0047, 0.408879, (0, 1.5708)),
        "RFJ1": _A(9.08001, 0.001, 0.464343, COUPLED_SUM_RANGE),
        "LFJ4": _A(3.94635, 0.003, 0.211455, (0, 0.7854)),
        "LFJ3": _A(1.97424, 0.0034, 0.198143, (-0.3491, 0.3491)),
        "LFJ2": _A(0.764681, 0.0038, 0.135135, (0, 1.5708)),
        "LFJ1": _A(9.09757, 0.001, 0.506173, COUPLED_SUM_RANGE),
        "THJ4": _A(1.58856, 0.0054, 0.187289, (-1.0472, 1.0472)),
        "THJ3": _A(1.54405, 0.0054, 0.240256, (0, 1.2217)),
        "THJ2": _A(0.359104, 0.00435, 0.037666, (-0.2094, 0.2094)),
        "THJ1": _A(2.08578, 0.0048, 0.16611, (-0.5236, 0.5236)),
        "THJ0": _A(2.03772, 0.005, 0.206836, (-1.5708, 0)),
    }
)
CALIBRATED_JOINTS = MappingProxyType(
    {
        "WRJ1": _J(0.38926, 0.001, (-0.4887, 0.2188)),
        "WRJ0": _J(0.75, 0.05, (-0.8, 0.4887)),
        "FFJ3": _J(0.013526, 0.01, (-0.4581, 0.6993)),
        "FFJ2": _J(0.133715, 0.01, (-0.3324, 1.6806), stiffness=0.03),
        "FFJ1": _J(0.520711, 0.001, (-0.0028, 1.6384)),
        "FFJ0": _J(0.75, 0.001, (-0.0434, 1.8048)),
        "MFJ3": _J(0.033548, 0.002, (-0.5267, 0.3808)),
        "MFJ2": _J(0.349514, 0.001, (-0.3066, 1.5708), stiffness=0.03),
        "MFJ1": _J(0.409398, 0.001, (0, 1.6600)),
        "MFJ0": _J(0.520422, 0.001, (-0.0063, 1.5708)),
        "RFJ3": _J(0.249286, 0.01, (-0.3762, 0.3491)),
        "RFJ2": _J(0.187107, 0.01, (-0.0795, 1.5750)),
        "RFJ1": _J(0.201859, 0.001, (-0.0462, 1.6557)),
        "RFJ0": _J(0.250983, 0.001, (0, 1.5814)),
        "LFJ4": _J(0.360633, 0.01, (-0.1061, 1.0353)),
        "LFJ3": _J(0.369654, 0.01, (-0.5490, 0.3491)),
        "LFJ2": _J(0.125919, 0.01, (-0.4491, 1.7055)),
        "LFJ1": _J(0.453761, 0.001, (-0.0602, 1.6875)),
        "LFJ0": _J(0.51272, 0.001, (-0.0714, 1.6174)),
        "THJ4": _J(0.202772, 0.02, (-1.1393, 1.0472)),
        "THJ3": _J(0.361668, 0.003, (-0.1000, 1.3262)),
        "THJ2": _J(0.03084, 0.009, (-0.2094, 0.2094)),
        "THJ1": _J(0.214276, 0.01, (-0.7307, 0.7497)),
        "THJ0": _J(0.202606, 0.01, (-1.7863, 0.1040)),
    }
)
"""Published with OpenAI's later environments (robogym); J0 is the distal joint."""

CALIBRATED_LINK_FRICTION = (0.2, 0.005, 0.001)
CALIBRATED_DISTAL_FRICTION = (0.8, 0.025, 0.005)
CALIBRATED_COUPLED_DAMPING = 0.1  # Nm s/rad on J1 + J0

HANDS = ("gymnasium_robotics", "calibrated")
"""The selectable sets of hand parameters."""


def load_hand_spec() -> mujoco.MjSpec:
    """The spec of gymnasium-robotics' hand and block, as shipped.

    Raises:
        ModuleNotFoundError: gymnasium-robotics is not installed.
    """
    # Found, not imported: importing it registers hundreds of environments and prints warnings.
    package = importlib.util.find_spec("gymnasium_robotics")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("The hand ships with gymnasium-robotics: pip install gymnasium-robotics")
    path = Path(package.origin).parent / "envs" / "assets" / "hand" / "manipulate_block.xml"
    return mujoco.MjSpec.from_file(str(path))


def edit_hand(spec: mujoco.MjSpec, hand: str, *, locked_wrist: bool, strip: bool) -> None:
    """Turn the shipped hand into ours, in place.

    Args:
        spec: from :func:`load_hand_spec`.
        hand: the parameter set, one of :data:`HANDS`.
        locked_wrist: fix the wrist's pitch joint WRJ0 at :data:`LOCKED_WRIST` (Section 6.1).
        strip: remove what costs time and does not matter: sensors, tendons that never bind, and the
            uncalibrated hand's friction loss, 0.001 Nm in every joint: less than a hundredth of any
            servo's torque, but 24 constraint rows and a quarter of the time.

    Raises:
        ValueError: unknown ``hand``.
    """
    if hand not in HANDS:
        raise ValueError(f"Unknown hand {hand!r}; choose one of {', '.join(HANDS)}.")
    if strip:
        for sensor in list(spec.sensors):
            spec.delete(sensor)
        for joint in spec.joints:
            joint.frictionloss = 0.0
    for tendon in list(spec.tendons):
        if strip or tendon.name.endswith("J1c"):  # J1c ties J0 to J1; the pair moves freely in our model
            spec.delete(tendon)
    _remove_repeated_pairs(spec)
    _couple_fingers(spec)
    _add_markers(spec)
    if hand == "calibrated":
        _apply_calibration(spec)
    if locked_wrist:
        _lock_wrist(spec)


def _remove_repeated_pairs(spec: mujoco.MjSpec) -> None:
    # The MJCF lists the tips of little and ring finger twice: their contact would count double, but on
    # engines that merge equal pairs only once.
    seen = set()
    for pair in list(spec.pairs):
        geoms = frozenset((pair.geomname1, pair.geomname2))
        if geoms in seen:
            spec.delete(pair)
        seen.add(geoms)


def _couple_fingers(spec: mujoco.MjSpec) -> None:
    for driven, coupled in COUPLED.items():
        actuated = spec.add_tendon(name=f"{PREFIX}T_{driven}_sum")
        actuated.wrap_joint(f"{PREFIX}{driven}", 1.0)
        actuated.wrap_joint(f"{PREFIX}{coupled}", 1.0)
        difference = spec.add_tendon(name=f"{PREFIX}T_{driven}_difference")
        difference.wrap_joint(f"{PREFIX}{driven}", 1.0)
        difference.wrap_joint(f"{PREFIX}{coupled}", -1.0)
        difference.limited = mujoco.mjtLimited.mjLIMITED_TRUE
        difference.range = COUPLED_DIFFERENCE_RANGE
        actuator = spec.actuator(f"{PREFIX}A_{driven}")
        actuator.trntype = mujoco.mjtTrn.mjTRN_TENDON
        actuator.target = actuated.name
        actuator.ctrlrange = COUPLED_SUM_RANGE


def _add_markers(spec: mujoco.MjSpec) -> None:
    box = mujoco.mjtGeom.mjGEOM_BOX
    for finger in FINGERS:
        distal = spec.body(f"{PREFIX}{finger}distal")
        distal.add_site(name=f"marker:{finger}", pos=FINGERTIP_MARKER[finger], size=[0.003] * 3, group=3)
        centre, half_size = NAIL_BOX_THUMB if finger == "th" else NAIL_BOX_FINGER
        distal.add_site(name=f"nail:{finger}", type=box, pos=centre, size=half_size, group=4)
    forearm = spec.body(FOREARM_BODY)
    for i, offset in enumerate(REFERENCE_MARKERS):
        forearm.add_site(
            name=f"reference:{i}", pos=np.add(REFERENCE_FRAME_POSITION, offset), size=[0.003] * 3, group=3
        )


def _apply_calibration(spec: mujoco.MjSpec) -> None:
    for name, actuator_parameters in CALIBRATED_ACTUATORS.items():
        actuator = spec.actuator(f"{PREFIX}A_{name}")
        kp, kv = actuator_parameters.kp, actuator_parameters.kp * actuator_parameters.derivative_time
        actuator.gainprm[0] = kp
        actuator.biasprm[1], actuator.biasprm[2] = -kp, -kv
        actuator.forcerange = (-actuator_parameters.torque_limit, actuator_parameters.torque_limit)
        actuator.ctrlrange = actuator_parameters.control_range
    for name, joint_parameters in CALIBRATED_JOINTS.items():
        joint = spec.joint(f"{PREFIX}{name}")
        joint.damping[0] = joint_parameters.damping
        joint.frictionloss = joint_parameters.frictionloss
        joint.range = joint_parameters.range
        joint.stiffness[0] = joint_parameters.stiffness
    for driven in COUPLED:
        spec.tendon(f"{PREFIX}T_{driven}_sum").damping[0] = CALIBRATED_COUPLED_DAMPING
    for geom in spec.geoms:
        if geom.name.startswith(f"{PREFIX}C_"):
            distal = geom.name.endswith("distal")
            geom.friction = CALIBRATED_DISTAL_FRICTION if distal else CALIBRATED_LINK_FRICTION


def _lock_wrist(spec: mujoco.MjSpec) -> None:
    # An equality constraint holds it; a servo alone would sag under the hand's weight.
    joint = spec.joint(f"{PREFIX}WRJ0")
    equality = spec.add_equality(
        name="locked_wrist", type=mujoco.mjtEq.mjEQ_JOINT, objtype=mujoco.mjtObj.mjOBJ_JOINT, name1=joint.name
    )
    equality.data[:5] = LOCKED_WRIST, 0.0, 0.0, 0.0, 0.0
