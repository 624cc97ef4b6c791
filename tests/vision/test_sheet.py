"""Contact sheets: a row for each set, a column for each camera."""

from pathlib import Path

import numpy as np
from PIL import Image

from dactyl_tl.contract import CAMERAS, PICTURE_SIZE
from dactyl_tl.vision.sheet import GAP, main


def test_a_sheet_is_drawn(tmp_path: Path) -> None:
    main([str(tmp_path / "sheet.png"), "--renderer", "classic", "--rows", "2"])
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (
        2 * PICTURE_SIZE + GAP, len(CAMERAS) * PICTURE_SIZE + (len(CAMERAS) - 1) * GAP, 3,
    )  # fmt: skip
    assert (sheet[PICTURE_SIZE : PICTURE_SIZE + GAP] == 255).all()
    rows = sheet[:PICTURE_SIZE].astype(int), sheet[-PICTURE_SIZE:].astype(int)
    assert np.abs(rows[0] - rows[1]).mean() > 1  # nominal or not, the states differ
