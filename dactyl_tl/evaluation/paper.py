"""The paper's own results, as data: what every table of this project is printed beside.

The spreads are sample standard deviations (``ddof = 1``). The paper does not say so; the trials it
lists decide it: recomputed from them, the sample formula gives the printed digit in every row but
one, the population formula in none. The exception is :data:`MISPRINT`.

Source: arXiv 1808.00177, Tables 3, 4, 5 and 6.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperRow:
    """One row of Table 3, 4 or 5: consecutive rotations until a trial ended.

    Attributes:
        label: The row's name as printed.
        world: ``"simulation"`` or ``"hand"`` (the physical robot).
        mean: Printed mean, rotations.
        std: Printed standard deviation, rotations.
        median: Printed median, rotations.
        count: Number of trials behind the row.
        trials: The listed trials, sorted downwards; empty where the paper lists none.
    """

    label: str
    world: str
    mean: float
    std: float
    median: float
    count: int
    trials: tuple[int, ...] = ()


def _simulated(label: str, mean: float, std: float, median: float) -> PaperRow:
    return PaperRow(label, "simulation", mean, std, median, count=100)


def _physical(label: str, mean: float, std: float, median: float, trials: tuple[int, ...]) -> PaperRow:
    return PaperRow(label, "hand", mean, std, median, count=len(trials), trials=trials)


_BLOCK_STATE = (50, 41, 29, 27, 14, 12, 6, 4, 4, 1)
_BLOCK_VISION = (46, 28, 26, 15, 13, 10, 8, 3, 2, 1)

TABLE_3: dict[tuple[str, str], PaperRow] = {
    ("block", "simulation"): _simulated("Block (state)", 43.4, 13.8, 50),
    ("block_locked_wrist", "simulation"): _simulated("Block (state, locked wrist)", 44.2, 13.4, 50),
    ("block_vision", "simulation"): _simulated("Block (vision)", 30.0, 10.3, 33),
    ("prism", "simulation"): _simulated("Octagonal prism (state)", 29.0, 19.7, 30),
    ("block", "hand"): _physical("Block (state)", 18.8, 17.1, 13, _BLOCK_STATE),
    ("block_locked_wrist", "hand"): _physical(
        "Block (state, locked wrist)", 26.4, 13.4, 28.5, (50, 43, 32, 29, 29, 28, 19, 13, 12, 9)
    ),
    ("block_vision", "hand"): _physical("Block (vision)", 15.2, 14.3, 11.5, _BLOCK_VISION),
    ("prism", "hand"): _physical("Octagonal prism (state)", 7.8, 7.8, 5, (27, 15, 8, 8, 5, 5, 4, 3, 2, 1)),
}
"""Table 3, one policy a task, by (task, world). ``block_vision`` is the block seen by the cameras."""

TABLE_4: dict[tuple[str, str], PaperRow] = {
    ("all", "state"): _physical("All randomizations (state)", 18.8, 17.1, 13, _BLOCK_STATE),
    ("none", "state"): _physical("No randomizations (state)", 1.1, 1.9, 0, (6, 2, 2, 1, 0, 0, 0, 0, 0, 0)),
    ("no_observation_noise", "state"): _physical(
        "No observation noise (state)", 15.1, 14.5, 8.5, (45, 35, 23, 11, 9, 8, 7, 6, 6, 1)
    ),
    ("no_physics", "state"): _physical(
        "No physics randomizations (state)", 3.5, 2.5, 2, (7, 7, 7, 3, 2, 2, 2, 2, 2, 1)
    ),
    ("no_unmodeled", "state"): _physical(
        "No unmodeled effects (state)", 3.5, 4.8, 2, (16, 7, 3, 3, 2, 2, 1, 1, 0, 0)
    ),
    ("all", "vision"): _physical("All randomizations (vision)", 15.2, 14.3, 11.5, _BLOCK_VISION),
    ("no_observation_noise", "vision"): _physical(
        "No observation noise (vision)", 5.9, 6.6, 3.5, (20, 12, 11, 6, 5, 2, 2, 1, 0, 0)
    ),
}
"""Table 4, by (randomizations during training, where the object's pose came from)."""

TABLE_5: dict[tuple[str, str], PaperRow] = {
    ("lstm", "lstm"): _physical("LSTM policy / LSTM value (state)", 18.8, 17.1, 13, _BLOCK_STATE),
    ("feedforward", "lstm"): _physical(
        "FF policy / LSTM value (state)", 4.7, 4.1, 3.5, (15, 7, 6, 5, 4, 3, 3, 2, 2, 0)
    ),
    ("feedforward", "feedforward"): _physical(
        "FF policy / FF value (state)", 4.6, 4.3, 3, (15, 8, 6, 5, 3, 3, 2, 2, 2, 0)
    ),
}
"""Table 5, by (policy network, value network)."""


MISPRINT = TABLE_5["feedforward", "lstm"]
"""The one row whose printed spread, 4.1, no formula gives: its trials have the sample standard
deviation 4.165 (4.2) and the population one 3.951 (4.0). The likely cause is truncation."""


TRAINED_WITH = "paper: trained with all randomizations"
"""What stands beside rows of Table 3, whatever the trials they are compared with (its caption)."""


def table_3_row(task: str, world: str = "simulation") -> PaperRow | None:
    """Table 3's row for a task in a world, or None where the paper has no such row."""
    return TABLE_3.get((task, world))


@dataclass(frozen=True)
class PaperPoseRow:
    """One row of Table 6: errors of the pose network, mean and standard deviation.

    Attributes:
        label: The pictures, as printed.
        rotation: Degrees.
        position: Millimetres.
    """

    label: str
    rotation: tuple[float, float]
    position: tuple[float, float]


TABLE_6: dict[str, PaperPoseRow] = {
    "filament": PaperPoseRow("Unity images", (2.71, 1.62), (3.12, 1.52)),
    "classic": PaperPoseRow("MuJoCo images", (3.23, 2.91), (3.71, 4.07)),
    "real": PaperPoseRow("real images", (5.01, 2.47), (9.27, 4.02)),
}
"""By the renderer here that stands for the paper's; real images have no counterpart."""
