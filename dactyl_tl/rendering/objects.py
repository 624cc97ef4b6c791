"""What the objects look like: meshes whose faces all differ in colour and letter, drawn here.

Every face has its own tile in one 2D texture, so that the same mesh serves every renderer. Colours are
far apart in hue or lightness; letters are turned upright for a reader who holds the object's +z axis up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import matplotlib
import mujoco
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dactyl_tl.simulation.objects import BLOCK_HALF_SIZE, PRISM_HALF_LENGTH, PRISM_HALF_WIDTH

TILE = 256
"""Edge of a face's tile in the texture, pixels, unless another is asked for."""

COLOURS = (
    "#d94436",
    "#2f6fb7",
    "#f2b632",
    "#3c9d5b",
    "#8a4fa3",
    "#f07f2e",
    "#27a5a2",
    "#e37fb0",
    "#5b6470",
    "#f4f1e8",
)
"""Face colours in the order of the faces."""

INK_ON_DARK, INK_ON_LIGHT = "#ffffff", "#2a2d33"
"""Colour of a letter; the one with more contrast is used."""

LETTER = 0.66
"""Size of a letter's font, as a share of the face's shorter side."""

BEVEL = 0.06
"""Share of a face's edge that its darker rim takes on either side."""


@dataclass(frozen=True)
class Look:
    """A textured mesh.

    Attributes:
        corners: The faces' corners in the object's frame, m; each is a list of (x, y, z), drawn
            anticlockwise as seen from outside, the first two being the letter's baseline.
        letters: One letter a face, or a blank.
        colours: Of the faces.
    """

    corners: tuple[NDArray[np.float64], ...]
    letters: str
    colours: tuple[str, ...] = COLOURS


def _block() -> Look:
    h = BLOCK_HALF_SIZE
    faces = []
    for normal, up in (
        ((1, 0, 0), (0, 0, 1)), ((-1, 0, 0), (0, 0, 1)), ((0, 1, 0), (0, 0, 1)),
        ((0, -1, 0), (0, 0, 1)), ((0, 0, 1), (0, 1, 0)), ((0, 0, -1), (0, 1, 0)),
    ):  # fmt: skip
        n, u = np.array(normal, float), np.array(up, float)
        right = np.cross(u, n)
        faces.append(h * np.array([n - right - u, n + right - u, n + right + u, n - right + u]))
    return Look(tuple(faces), "ABCDEF")


def _octagonal_prism() -> Look:
    radius = PRISM_HALF_WIDTH / np.cos(np.pi / 8)
    angles = (np.arange(8) - 0.5) * np.pi / 4
    ring = np.stack((radius * np.cos(angles), radius * np.sin(angles)), axis=1)
    bottom = np.concatenate((ring, np.full((8, 1), -PRISM_HALF_LENGTH)), axis=1)
    top = bottom * (1, 1, -1)
    sides = [np.array([bottom[i], bottom[(i + 1) % 8], top[(i + 1) % 8], top[i]]) for i in range(8)]
    return Look((*sides, top, bottom[::-1].copy()), "ABCDEFGHXY")  # torch takes no view backwards


LOOKS: MappingProxyType[str, Callable[[], Look]] = MappingProxyType(
    {"block": _block, "prism": _octagonal_prism}
)
"""Functions that give an object's look, by its name in :data:`dactyl_tl.simulation.objects.OBJECTS`."""


KINDS = ("lettered", "plain")
"""Each face has a colour and a letter of its own, or faces of one shape have one colour and no letter."""


def look_of(object_name: str, kind: str = "lettered") -> Look:
    """What an object looks like.

    Args:
        object_name: Key of :data:`LOOKS`.
        kind: One of :data:`KINDS`.

    Raises:
        ValueError: Unknown ``object_name`` or ``kind``.
    """
    if object_name not in LOOKS:
        raise ValueError(f"Unknown object {object_name!r}; choose one of {', '.join(LOOKS)}.")
    if kind not in KINDS:
        raise ValueError(f"Unknown look {kind!r}; choose one of {', '.join(KINDS)}.")
    look = LOOKS[object_name]()
    if kind == "lettered":
        return look
    shapes = [np.round(np.linalg.norm(each - np.roll(each, 1, axis=0), axis=1), 6) for each in look.corners]
    kinds = [tuple(sorted(shape)) for shape in shapes]
    colours = tuple(COLOURS[sorted(set(kinds)).index(kind)] for kind in kinds)
    return Look(look.corners, " " * len(kinds), colours)


def keypoints(look: Look) -> NDArray[np.float64]:
    """The object's centre, then its corners, in its frame, m: (k, 3)."""
    corners = np.unique(np.round(np.concatenate(look.corners), 9), axis=0)
    return np.concatenate((np.zeros((1, 3)), corners))


def symmetries(look: Look) -> NDArray[np.float64]:
    """All rotations after which an object looks the same, the identity first: wxyz in its frame, (s, 4).

    Every one takes the first face to a face of the same looks, one of its corners to any corner of that. A
    letter that no other face has looks the same in one way only.
    """
    found = []
    first = _frame(look.corners[0], 0)
    for corners in look.corners:
        for corner in range(len(corners)):
            turn = _frame(corners, corner) @ first.T
            if _keeps(look, turn):
                quaternion = np.empty(4)
                mujoco.mju_mat2Quat(quaternion, turn.ravel())
                found.append(quaternion * (1.0 if quaternion[0] >= 0 else -1.0))
    return np.array(sorted(found, key=lambda q: -q[0]))


def _frame(corners: NDArray[np.float64], first: int) -> NDArray[np.float64]:
    """Axes of a face, seen from one of its corners: along the edge to the next, inwards, and outwards."""
    edge = corners[(first + 1) % len(corners)] - corners[first]
    edge = edge / np.linalg.norm(edge)
    outward = np.cross(edge, corners[(first + 2) % len(corners)] - corners[(first + 1) % len(corners)])
    outward /= np.linalg.norm(outward)
    return np.stack((edge, np.cross(outward, edge), outward), axis=1)


def _keeps(look: Look, turn: NDArray[np.float64]) -> bool:
    """Whether ``turn`` takes each face to one of the same colour and, where there is one, the same letter."""
    for corners, letter, colour in zip(look.corners, look.letters, look.colours, strict=False):
        turned = corners @ turn.T
        for other, other_letter, other_colour in zip(look.corners, look.letters, look.colours, strict=False):
            gaps = np.linalg.norm(turned[:, None] - other[None], axis=-1)
            same_place = gaps.min(axis=1).max() < 1e-6 if len(other) == len(turned) else False
            upright = letter == " " or np.linalg.norm(turned[0] - other[0]) < 1e-6
            if same_place and (letter, colour) == (other_letter, other_colour) and upright:
                break
        else:
            return False
    return True


def add_look(
    spec: mujoco.MjSpec, body: mujoco.MjsBody, object_name: str, *, alpha: float = 1.0, tile: int = TILE,
    kind: str = "lettered",
) -> None:  # fmt: skip
    """Give ``body`` the textured mesh of an object: no mass, no contacts.

    Args:
        spec: The scene's spec.
        body: The body to dress.
        object_name: Key of :data:`LOOKS`.
        alpha: Opacity, 0 to 1; below 1 for a goal that is shown as a ghost.
        tile: Edge of a face's tile in the texture, pixels.
        kind: One of :data:`KINDS`.

    Raises:
        ValueError: Unknown ``object_name`` or ``kind``.
    """
    look = look_of(object_name, kind)
    if f"look:{object_name}" not in {mesh.name for mesh in spec.meshes}:
        _add_assets(spec, object_name, look, tile)
    name = f"{body.name}:{object_name}"
    material = spec.add_material(name=name, specular=0.25, shininess=0.4, rgba=(1, 1, 1, alpha))
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = f"look:{object_name}"
    body.add_geom(
        name=f"look:{body.name}", type=mujoco.mjtGeom.mjGEOM_MESH, meshname=f"look:{object_name}",
        material=name, contype=0, conaffinity=0, mass=0.0, group=0,
    )  # fmt: skip


def draw_texture(look: Look, tile: int = TILE) -> NDArray[np.uint8]:
    """The faces' tiles side by side: (tile, tile * faces, 3)."""
    image = Image.new("RGB", (tile * len(look.letters), tile))
    draw = ImageDraw.Draw(image)
    for face, (corners, letter) in enumerate(zip(look.corners, look.letters, strict=True)):
        left, colour = face * tile, look.colours[face]
        outline = tile * _tile_coordinates(corners)
        rim = 1.0 - 2.0 * BEVEL
        inner = outline.mean(axis=0) + rim * (outline - outline.mean(axis=0))
        draw.rectangle((left, 0, left + tile, tile), fill=_darken(colour, 0.8))
        draw.polygon([(left + x, y) for x, y in inner], fill=colour)
        font = ImageFont.truetype(_font_file(), int(LETTER * np.ptp(outline, axis=0).min()))
        draw.text((left + tile / 2, tile / 2), letter, font=font, fill=_ink(colour), anchor="mm")
    return np.asarray(image)


def _add_assets(spec: mujoco.MjSpec, object_name: str, look: Look, tile: int) -> None:
    pixels = draw_texture(look, tile)
    texture = spec.add_texture(
        name=f"look:{object_name}", type=mujoco.mjtTexture.mjTEXTURE_2D,
        width=pixels.shape[1], height=pixels.shape[0], nchannel=3,
    )  # fmt: skip
    texture.data = pixels.tobytes()
    vertices: list[list[float]] = []
    texels: list[list[float]] = []
    triangles: list[tuple[int, int, int]] = []
    for face, corners in enumerate(look.corners):
        first = len(vertices)
        vertices += corners.tolist()
        x, y = _tile_coordinates(corners).T
        texels += np.stack(((x + face) / len(look.letters), y), axis=1).tolist()
        triangles += [(first, first + i, first + i + 1) for i in range(1, len(corners) - 1)]
    spec.add_mesh(
        name=f"look:{object_name}",
        uservert=np.ravel(vertices), usertexcoord=np.ravel(texels),
        userface=np.ravel(triangles), userfacetexcoord=np.ravel(triangles),
    )  # fmt: skip


def _tile_coordinates(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where a face's corners lie on its tile, x to the right and y down, both 0 to 1: (corners, 2)."""
    centre = corners.mean(axis=0)
    right = corners[1] - corners[0]
    right /= np.linalg.norm(right)
    normal = np.cross(right, corners[2] - corners[1])
    up = np.cross(normal / np.linalg.norm(normal), right)
    plane = np.stack(((corners - centre) @ right, (centre - corners) @ up), axis=1)
    return plane / (2 * np.abs(plane).max()) + 0.5


def _font_file() -> str:
    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf")


def _rgb(colour: str) -> tuple[int, int, int]:
    value = int(colour.removeprefix("#"), 16)
    return value >> 16, value >> 8 & 255, value & 255


def _darken(colour: str, factor: float) -> tuple[int, ...]:
    return tuple(int(factor * channel) for channel in _rgb(colour))


def _ink(colour: str) -> str:
    luma = np.dot(_rgb(colour), (0.299, 0.587, 0.114))
    return INK_ON_LIGHT if luma > 150 else INK_ON_DARK
