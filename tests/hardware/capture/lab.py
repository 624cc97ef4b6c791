"""A laboratory made of numbers: known fingertips, references and object, and frames that show them."""

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.spatial.transform import Rotation

from dactyl_tl.contract import FINGERS
from hardware.capture.frames import Frame, marker
from hardware.capture.rig import REFERENCE_LAYOUT, Rig
from hardware.capture.rigid import Pose
from hardware.twin.markers import OBJECT_MARKERS

MS = 1_000_000

FINGERTIPS = np.array(
    [
        (-0.033, -0.482, -0.014),
        (-0.011, -0.486, -0.014),
        (0.011, -0.482, -0.014),
        (0.034, -0.475, -0.014),
        (-0.108, -0.383, -0.001),
    ]
)
"""Of the open hand, in the hand-base frame, m."""

RIG = Rig(object_markers={id_: np.array(at) for id_, at in OBJECT_MARKERS.items()})
IDS = {finger: RIG.fingertips[finger] for finger in FINGERS}


def pose(rotation_vector, position) -> Pose:
    return Pose(Rotation.from_rotvec(rotation_vector), position)


OBJECT = pose((0.2, -0.4, 0.1), (0.01, -0.37, 0.06))
LAB = pose((0.9, -1.7, 0.4), (-1.2, 0.4, 2.1))


@dataclass(frozen=True)
class Scene:
    """What is there: in the hand-base frame; ``lab`` is that frame as the system sees it."""

    fingertips: np.ndarray = field(default_factory=FINGERTIPS.copy)
    object: Pose = OBJECT
    lab: Pose = LAB

    def markers(self) -> dict[int, np.ndarray]:
        """Id -> (3,) m as the system sees them."""
        places = {IDS[finger]: self.fingertips[i] for i, finger in enumerate(FINGERS)}
        places.update(zip(RIG.references, np.array(REFERENCE_LAYOUT), strict=True))
        places.update({id_: self.object.apply(np.array(at)) for id_, at in OBJECT_MARKERS.items()})
        return {id_: self.lab.apply(at) for id_, at in places.items()}


def show(places, number: int, *, rate: float = 240.0, began_ns: int = 0, lost=()) -> Frame:
    """Frame ``number`` of a stream: markers at ``places``, those in ``lost`` not seen."""
    return Frame(
        sequence=number,
        device_time=100.0 + number / rate,
        received_ns=began_ns + round(number * 1e9 / rate),
        markers={id_: marker(*at, seen=id_ not in lost) for id_, at in places.items()},
    )


def stream(count: int, scene: Scene | None = None, *, first: int = 0, **options) -> list[Frame]:
    """``count`` frames of a scene that stands still."""
    places = (scene or Scene()).markers()
    return [show(places, first + number, **options) for number in range(count)]


def relabel(frame: Frame, labels: dict[int, int]) -> Frame:
    """The frame with the marker of each key under its value's id instead."""
    moved = {labels.get(id_, id_): each for id_, each in frame.markers.items()}
    return replace(frame, markers=moved)
