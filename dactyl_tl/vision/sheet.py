"""Contact sheets of what a pose network learns from and is evaluated on.

    python -m dactyl_tl.vision.sheet FILE [--renderer classic]

A row for each set of pictures, a column for each camera, as the paper's Figure 4.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dactyl_tl.rendering.offscreen import RendererError
from dactyl_tl.simulation.scene import TASKS
from dactyl_tl.vision.drawing import RENDERERS, Drawing
from dactyl_tl.vision.states import gather

GAP = 3
"""Pixels between pictures."""

EVERY = 40
"""Control steps between two states, so that they differ."""


def contact_sheet(drawing: Drawing, qpos: torch.Tensor, seed: int) -> NDArray[np.uint8]:
    """Pictures of each state in a row, cameras in columns, white between them: (height, width, 3)."""
    artist = drawing.open()
    pictures, _ = artist.draw(qpos, torch.Generator().manual_seed(seed))
    artist.close()
    padded = np.pad(pictures, ((0, 0), (0, 0), (0, GAP), (0, GAP), (0, 0)), constant_values=255)
    rows = [np.concatenate(list(row), axis=1) for row in padded]
    return np.concatenate(rows)[:-GAP, :-GAP]


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw one sheet."""
    parser = argparse.ArgumentParser(prog="python -m dactyl_tl.vision.sheet", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="PNG file to write")
    parser.add_argument("--renderer", choices=RENDERERS, default="filament")
    parser.add_argument("--nominal", action="store_true", help="looks that are not randomised")
    parser.add_argument("--task", choices=TASKS, default="block")
    parser.add_argument("--policy", help="whose states; default: a scripted one's")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    states = gather(
        options.policy, {"task": options.task}, count=options.rows, every=EVERY, num_envs=2, seed=options.seed
    )
    drawing = Drawing(options.task, options.renderer, randomized=not options.nominal)
    try:
        sheet = contact_sheet(drawing, states.qpos, options.seed)
    except RendererError as error:
        parser.error(str(error))
    Image.fromarray(sheet).save(options.file)
    print(f"wrote {options.file}")


if __name__ == "__main__":
    main()
