"""Who looks on while trials run: a progress bar, a video, the live viewer."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dactyl_tl.contract import CONTROL_PERIOD
from dactyl_tl.evaluation.worlds import SimulatedWorld
from dactyl_tl.progress import Report
from dactyl_tl.protocol import Referee, World
from dactyl_tl.rendering.classic import HandRenderer
from dactyl_tl.rendering.video import VideoWriter, caption, grid
from dactyl_tl.rendering.viewer import LiveViewer
from dactyl_tl.trials import Watcher

LINGER = 1.0
"""Seconds that a video stays on its last picture."""


def reporter(name: str, trials: int, report: Report) -> Watcher:
    """Reports the trials that have ended, with the rotations so far and the simulated time."""
    ended_before = 0

    def watch(world: World, referee: Referee) -> None:
        nonlocal ended_before
        ended = int((~referee.running).sum())
        rotations, seconds = referee.successes.double().mean(), referee.seconds.max()
        said = f"{rotations:.2f} rotations, {seconds:.0f} s simulated"
        report(f"trials of {name}", min(trials, ended_before + ended), trials, said)
        if referee.finished:
            ended_before += ended

    return watch


class VideoRecorder:
    """Films the first trials side by side: goal, rotations, time, and how each ended.

    Args:
        path: mp4 file to write.
        renderer: Draws one simulation.
        trials: How many to show.
        seconds: Longest video, seconds of simulated time.
    """

    def __init__(self, path: Path, renderer: HandRenderer, *, trials: int, seconds: float) -> None:
        self.path = path
        self._writer = VideoWriter(path)
        self._renderer = renderer
        self._trials = trials
        self._frames = round(seconds / CONTROL_PERIOD)
        self._done = False

    def __call__(self, world: World, referee: Referee) -> None:
        """Film one control step; see :data:`dactyl_tl.evaluation.trials.Watcher`."""
        if self._done:
            return
        assert isinstance(world, SimulatedWorld), "only simulations can be drawn"
        shown = range(min(self._trials, world.num_trials))
        picture = grid([self._picture(world, referee, trial) for trial in shown])
        self._writer.write(picture)
        over = not any(bool(referee.running[trial]) for trial in shown)
        if over or self._writer.frames >= self._frames:
            for _ in range(round(LINGER / CONTROL_PERIOD)):
                self._writer.write(picture)
            self.close()

    def close(self) -> None:
        """Complete the video."""
        if not self._done:
            self._writer.close()
        self._done = True

    def _picture(self, world: SimulatedWorld, referee: Referee, trial: int) -> NDArray[np.uint8]:
        ending = referee.endings[trial]
        count = int(referee.successes[trial])
        words = [
            f"{count} rotation{'' if count == 1 else 's'}",
            f"{float(referee.seconds[trial]):.1f} s",
            *([str(ending)] if ending else []),
        ]
        picture = self._renderer.render(*world.scene_state(trial))
        return caption(picture, "   ".join(words), faded=ending is not None)


def live_view(viewer: LiveViewer) -> Watcher:
    """Show the first trial of every batch in a live viewer, no faster than in real time."""
    due = time.monotonic()

    def watch(world: World, referee: Referee) -> None:
        nonlocal due
        assert isinstance(world, SimulatedWorld), "only simulations can be drawn"
        viewer.show(*world.scene_state(0))
        due = max(due + CONTROL_PERIOD, time.monotonic() - CONTROL_PERIOD)
        time.sleep(max(0.0, due - time.monotonic()))

    return watch
