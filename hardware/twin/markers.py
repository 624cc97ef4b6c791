"""The simulated laboratory's markers: where they sit on hand and block, and where a simulation has them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import mujoco
import numpy as np

from dactyl_tl.contract import FINGERS
from dactyl_tl.simulation.hand import MOUNT_POSITION, edit_hand, load_hand_spec
from hardware.capture.rig import FINGERTIP_IDS, REFERENCE_IDS, Rig

OBJECT_MARKERS = MappingProxyType(
    {
        8: (0.025, 0.009, 0.016),
        9: (-0.025, 0.021, -0.018),
        10: (-0.004, 0.025, -0.021),
        11: (0.006, -0.025, -0.019),
        12: (0.017, -0.020, 0.025),
        13: (-0.015, 0.006, -0.025),
    }
)
"""Id -> marker in the frame of the 50 mm block, one on each face, m. Found by random search for the places
where exchanged labels show best: 11 mm rms with all six in sight, 5 mm with any four."""


def reference_layout(hand: str = "calibrated") -> np.ndarray:
    """(3, 3) m: the reference markers in the hand-base frame, of the compiled hand."""
    spec = load_hand_spec()
    edit_hand(spec, hand, locked_wrist=False, strip=True)
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    return np.array([data.site(f"reference:{i}").xpos for i in range(len(REFERENCE_IDS))]) - MOUNT_POSITION


def twin_rig(layout: np.ndarray | None = None) -> Rig:
    """The rig of the simulated laboratory; ``layout`` is :func:`reference_layout`'s by default."""
    return Rig(
        reference_layout=reference_layout() if layout is None else layout,
        object_markers={id_: np.array(at) for id_, at in OBJECT_MARKERS.items()},
    )


def marker_positions(
    data: mujoco.MjData,
    object_body: str,
    object_markers: Mapping[int, tuple[float, float, float]] = OBJECT_MARKERS,
) -> dict[int, np.ndarray]:
    """Where a simulation's markers are: id -> (3,) m in the simulated world.

    Args:
        data: after ``mj_kinematics`` or a step, of a model with the sites of ``dactyl_tl.simulation.hand``.
        object_body: name of the object's body; "" for none.
        object_markers: id -> place in the body's frame, m.
    """
    places = {FINGERTIP_IDS[finger]: data.site(f"marker:{finger}").xpos.copy() for finger in FINGERS}
    places.update({id_: data.site(f"reference:{i}").xpos.copy() for i, id_ in enumerate(REFERENCE_IDS)})
    if object_body:
        body = data.body(object_body)
        turn, centre = body.xmat.reshape(3, 3), body.xpos
        places.update({id_: centre + turn @ np.array(at) for id_, at in object_markers.items()})
    return places
