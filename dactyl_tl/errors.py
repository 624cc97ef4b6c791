"""What can go wrong in a way that a person can put right; commands print these without a traceback."""

from __future__ import annotations

import signal

UNUSABLE, FAILED = 2, 3
"""Exit codes: a setting that cannot be used, and training that could not go on."""

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""What asks training to end after the rollout: Ctrl-C, a batch system, and Slurm ahead of a limit of time."""

INTERRUPTED = tuple(128 + number for number in ENDING_SIGNALS)
"""Exit codes of training that was asked to end."""


class ConfigurationError(ValueError):
    """A setting cannot be used; the message names it, its value and what would do."""


class TrainingError(RuntimeError):
    """Training cannot go on."""


class CollectionError(TrainingError):
    """Collection cannot go on, as when a worker process was killed; the learner's state is intact."""


class InterruptedCollection(CollectionError):
    """Training was asked to end while it waited for rollouts."""


class SimulationError(CollectionError):
    """The physics engine cannot go on, as when contacts did not fit its memory."""


class RankError(TrainingError):
    """Another process that trains along has ended or is silent.

    Raised between two updates the learner's state is intact.
    """


class CheckpointError(TrainingError):
    """A checkpoint could not be written; the one before it is untouched."""
