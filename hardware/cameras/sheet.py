"""A triple as one picture for a person to look at: is each camera where it belongs, bright and sharp?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hardware.cameras.frames import HEIGHT, WIDTH, Triple
from hardware.cameras.seeing import estimator_pictures

GAP, BAND, TEXT = 8, 30, 18
"""Pixels between pictures, of the band with a picture's name, of its letters."""

EDGE = (WIDTH - HEIGHT) // 2
"""Columns on either side that the network does not see."""

INK, PAPER, FRAME = (20, 20, 20), (255, 255, 255), (255, 200, 0)


def contact_sheet(triple: Triple) -> NDArray[np.uint8]:
    """The cameras' pictures, what the network sees of them outlined, and below what it is given.

    Returns:
        RGB, uint8, (height, width, 3).
    """
    crops = estimator_pictures(triple)[0]
    size = crops.shape[1]
    width = len(triple.frames) * (WIDTH + GAP) + GAP
    sheet = Image.new("RGB", (width, 2 * (BAND + GAP) + HEIGHT + size + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(TEXT)
    for number, (frame, crop) in enumerate(zip(triple.frames, crops, strict=True)):
        left, top = GAP + number * (WIDTH + GAP), BAND
        after = (frame.time_ns - triple.time_ns) / 1e6
        words = f"{frame.camera}   +{after:.2f} ms   mean {frame.picture.mean():.0f}   no. {frame.sequence}"
        draw.text((left, GAP // 2), words, INK, font)
        sheet.paste(Image.fromarray(frame.picture), (left, top))
        draw.rectangle((left + EDGE, top, left + EDGE + HEIGHT - 1, top + HEIGHT - 1), outline=FRAME)
        top += HEIGHT + GAP
        draw.text((left, top), f"as the network sees it, {size} x {size}", INK, font)
        sheet.paste(Image.fromarray(crop), (left, top + BAND))
    return np.asarray(sheet)
