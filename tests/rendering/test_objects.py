"""What the objects look like."""

from itertools import combinations, pairwise

import mujoco
import numpy as np
import pytest

from dactyl_tl.rendering.objects import COLOURS, LOOKS, TILE, add_look, draw_texture


@pytest.mark.parametrize("name", LOOKS)
def test_faces_differ_in_colour_and_letter(name: str) -> None:
    look = LOOKS[name]()
    assert len(set(look.letters)) == len(look.letters) == len(look.corners)
    texture = draw_texture(look).astype(float)
    tiles = texture.reshape(TILE, len(look.letters), TILE, 3).swapaxes(0, 1)
    colours = [np.median(tile[TILE // 3 : -TILE // 3].reshape(-1, 3), axis=0) for tile in tiles]
    assert all(np.abs(a - b).max() > 30 for a, b in combinations(colours, 2))
    assert all(len(np.unique(tile.reshape(-1, 3), axis=0)) > 2 for tile in tiles)  # colour, rim, ink


@pytest.mark.parametrize("name", LOOKS)
def test_faces_look_outwards_and_enclose_the_objects_volume(name: str) -> None:
    look = LOOKS[name]()
    volume = 0.0
    for corners in look.corners:
        for second, third in pairwise(corners[1:]):
            volume += np.dot(corners[0], np.cross(second, third)) / 6.0
    edge = 0.05
    expected = {"block": edge**3, "prism": 8 * 0.025**2 * np.tan(np.pi / 8) * 0.06}[name]
    assert volume == pytest.approx(expected)


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_has_no_mass_and_no_contacts(name: str) -> None:
    spec = mujoco.MjSpec()
    body = spec.worldbody.add_body(name="thing", mocap=True)
    add_look(spec, body, name, alpha=0.5)
    model = spec.compile()
    assert model.body("thing").mass == 0.0
    assert model.geom_contype.sum() == model.geom_conaffinity.sum() == 0
    assert model.mat_rgba[0, 3] == pytest.approx(0.5)


def test_there_are_colours_enough() -> None:
    assert len(set(COLOURS)) == len(COLOURS) >= max(len(look().letters) for look in LOOKS.values())


def test_an_unknown_object_is_refused() -> None:
    spec = mujoco.MjSpec()
    with pytest.raises(ValueError, match=r"'sphere'; choose one of block, prism"):
        add_look(spec, spec.worldbody.add_body(), "sphere")
