"""What can go wrong in a way that a person can put right; commands print these without a traceback."""

from __future__ import annotations


class ConfigurationError(ValueError):
    """A setting cannot be used; the message names it, its value and what would do."""


class TrainingError(RuntimeError):
    """Training cannot go on."""


class CollectionError(TrainingError):
    """Collection cannot go on, as when a worker process was killed; the learner's state is intact."""


class SimulationError(CollectionError):
    """The physics engine cannot go on, as when contacts did not fit its memory."""


class RankError(TrainingError):
    """Another process that trains along has ended or is silent.

    Raised between two updates the learner's state is intact.
    """


class CheckpointError(TrainingError):
    """A checkpoint could not be written; the one before it is untouched."""
