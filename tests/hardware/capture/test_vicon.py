"""What is made of a Vicon client's answers. There is no Vicon package to test against."""

import numpy as np
import pytest

from hardware.capture.vicon import Vicon, read_markers
from hardware.errors import HardwareError


class NotPresentError(Exception):
    """As the vendor's client raises for a subject that is not in view."""


ANSWERS = {
    ("hand", "ff"): ((1000.0, 250.0, -125.0), False),
    ("hand", "th"): ((0.0, 0.0, 0.0), True),
    ("block", "1"): ((float("nan"), 0.0, 0.0), False),
}


class Client:
    """Answers as the vendor's client does: ((x, y, z) in millimetres, occluded)."""

    def GetMarkerGlobalTranslation(self, subject, name):
        if (subject, name) not in ANSWERS:
            raise NotPresentError
        return ANSWERS[subject, name]


def test_markers_by_subject_and_name():
    ids = {"hand/ff": 0, "hand/th": 4, "block/1": 8, "block/2": 9}
    markers = read_markers(Client(), ids, NotPresentError)
    np.testing.assert_allclose(markers[0].position, (1.0, 0.25, -0.125))
    assert {id_: each.valid for id_, each in markers.items()} == {0: True, 4: False, 8: False, 9: False}


def test_missing_sdk_says_what_to_install():
    with pytest.raises(HardwareError, match="DataStream SDK"):
        Vicon("127.0.0.1", {"hand/ff": 0})
