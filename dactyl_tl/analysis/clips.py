"""Short films of what a policy did."""

from __future__ import annotations

from pathlib import Path

from dactyl_tl.analysis.contacts import PARTS, Recording
from dactyl_tl.contract import CONTROL_PERIOD
from dactyl_tl.rendering.classic import HandRenderer
from dactyl_tl.rendering.video import VideoWriter, caption

MARGIN = 0.8
"""Seconds before and after."""

SLOWED = 4
"""A film shows the trial this many times slower than it was."""

SIZE = 480
"""Pixels, each way."""

REPEATED = 2
"""Frames of a control step: players dislike few a second."""


def film(
    path: Path,
    record: Recording,
    trial: int,
    shown: range,
    title: str,
    *,
    task: str,
    hand: str,
) -> None:
    """Film some control steps of a trial, with some time around them, in slow motion.

    Args:
        path: mp4 file to write.
        record: that the event is of.
        trial: to film.
        shown: control steps that ``title`` is about.
        title: written on these; what touches the object is on the others.
        task: key of :data:`dactyl_tl.simulation.scene.TASKS`.
        hand: parameters of the simulation.

    Raises:
        RendererError: there is no working OpenGL.
    """
    around = round(MARGIN / CONTROL_PERIOD)
    steps = range(max(0, shown.start - around), min(len(record.running), shown.stop + around))
    with (
        HandRenderer(task, width=SIZE, height=SIZE, hand=hand, view="fingers") as renderer,
        VideoWriter(path, fps=REPEATED / CONTROL_PERIOD / SLOWED) as video,
    ):
        for step in steps:
            if not record.running[step, trial]:
                break
            picture = renderer.render(record.qpos[step, trial], record.goal[step, trial])
            now = [part for part, on in zip(PARTS, record.touching[step, trial], strict=True) if on]
            words = title if step in shown else f"touching: {', '.join(now) or 'nothing'}"
            picture = caption(picture, words)
            for _ in range(REPEATED):
                video.write(picture)
