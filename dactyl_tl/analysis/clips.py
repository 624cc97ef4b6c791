"""Short films of what a policy did."""

from __future__ import annotations

from pathlib import Path

from dactyl_tl.analysis.contacts import PARTS, Recording
from dactyl_tl.analysis.strategies import Event
from dactyl_tl.contract import CONTROL_PERIOD
from dactyl_tl.rendering.classic import HandRenderer
from dactyl_tl.rendering.video import VideoWriter, caption

MARGIN = 0.8
"""Seconds before and after."""

SLOWED = 4
"""A film shows the trial this many times slower than it was."""


def film(
    path: Path, record: Recording, event: Event, task: str, *, size: tuple[int, int] = (640, 480)
) -> None:
    """Film one event, with some time around it, in slow motion.

    Args:
        path: mp4 file to write.
        record: that the event is of.
        event: to film.
        task: key of :data:`dactyl_tl.simulation.scene.TASKS`.
        size: pixels.

    Raises:
        RendererError: there is no working OpenGL.
    """
    around = round(MARGIN / CONTROL_PERIOD)
    steps = range(max(0, event.start - around), min(len(record.running), event.stop + around))
    with (
        HandRenderer(task, width=size[0], height=size[1]) as renderer,
        VideoWriter(path, fps=1 / CONTROL_PERIOD / SLOWED) as video,
    ):
        for step in steps:
            if not record.running[step, event.trial]:
                break
            picture = renderer.render(record.qpos[step, event.trial], record.goal[step, event.trial])
            now = [part for part, on in zip(PARTS, record.touching[step, event.trial], strict=True) if on]
            title = f"{event.kind}: {', '.join(event.parts)}" if event.start <= step < event.stop else ""
            picture = caption(picture, title or f"touching: {', '.join(now) or 'nothing'}")
            for _ in range(2):  # players dislike few frames a second
                video.write(picture)
