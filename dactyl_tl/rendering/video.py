"""Frames with captions, side by side, written to an mp4 file that browsers play."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import imageio_ffmpeg  # type: ignore[import-untyped]
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dactyl_tl.contract import CONTROL_PERIOD
from dactyl_tl.rendering.closing import Closing

CAPTION_INK, SHADE = (35, 38, 43), (255, 255, 255, 190)

QUALITY = 8
"""Of imageio-ffmpeg, 0 to 10."""


def caption(picture: NDArray[np.uint8], text: str, *, faded: bool = False) -> NDArray[np.uint8]:
    """Write text into the upper left corner, in as many lines as it takes.

    Args:
        picture: (height, width, 3).
        text: Words; empty for none.
        faded: Bleach the picture, for a trial that is over.
    """
    image = Image.fromarray(picture).convert("RGBA")
    if faded:
        image = Image.blend(image, Image.new("RGBA", image.size, (255, 255, 255, 255)), 0.45)
    if text:
        margin = picture.shape[0] // 40
        font = _font(max(11, picture.shape[0] // 20))
        room = picture.shape[1] - 4 * margin
        width = font.getlength(text)
        if width > room:
            text = textwrap.fill(text, int(len(text) * room / width))
        layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
        draw = ImageDraw.Draw(layer)
        left, top, right, bottom = draw.textbbox((2 * margin, 1.6 * margin), text, font=font)
        box = (left - margin, top - margin, right + margin, bottom + margin)
        draw.rounded_rectangle(box, radius=margin, fill=SHADE)
        draw.text((2 * margin, 1.6 * margin), text, font=font, fill=CAPTION_INK)
        image = Image.alpha_composite(image, layer)
    return np.asarray(image.convert("RGB"))


def grid(pictures: Sequence[NDArray[np.uint8]], gap: int = 4) -> NDArray[np.uint8]:
    """Equally large pictures in rows and columns, as square as can be, white between them.

    Raises:
        ValueError: There are none, or they differ in size.
    """
    if len({picture.shape for picture in pictures}) != 1:
        raise ValueError(f"a grid needs equally large pictures, got {[p.shape for p in pictures]}")
    height, width, _ = pictures[0].shape
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet


class VideoWriter(Closing):
    """Writes frames to an mp4 file (H.264), in real time at one frame a control step by default.

    Nothing is at ``path`` until the video is complete. A writer that got no frame leaves no file.

    Args:
        path: The file to write.
        fps: Frames per second.
    """

    def __init__(self, path: Path, fps: float = 1.0 / CONTROL_PERIOD) -> None:
        self.path = path
        self.frames = 0
        self._fps = fps
        self._partial = path.with_name(f".{path.stem}.partial{path.suffix}")
        self._size: tuple[int, int] | None = None

    def write(self, picture: NDArray[np.uint8]) -> None:
        """Append a frame, (height, width, 3); odd edges lose a row or column, which H.264 needs even.

        Raises:
            ValueError: The frame differs in size from the first.
        """
        picture = np.ascontiguousarray(picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2])
        size = picture.shape[1], picture.shape[0]
        if self._size is None:
            self._size = size
            self._stream = imageio_ffmpeg.write_frames(
                str(self._partial), size, fps=self._fps, quality=QUALITY, macro_block_size=2,
                codec="libx264", ffmpeg_log_level="error",
            )  # fmt: skip
            self._stream.send(None)
        elif size != self._size:
            raise ValueError(f"a frame of {size} does not fit a video of {self._size}")
        self._stream.send(picture)
        self.frames += 1

    def close(self) -> None:
        """Complete the file; closing twice is fine."""
        if self._size is not None and self._partial is not None:
            self._stream.close()
            if self._partial.exists():
                self._partial.replace(self.path)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size)
