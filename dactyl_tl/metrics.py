"""Where metrics go: one tidy CSV file, and Weights & Biases."""

from __future__ import annotations

import csv
import math
import netrc
import os
import uuid
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

FRAMES = "frames"
"""Column and x axis: environment frames over all simulations."""

WANDB_MODES = ("auto", "online", "offline")


class MetricsFile(Logger):
    """One CSV file with a row for each rollout and a column for each metric; empty where unknown.

    A resumed run goes on in the same file: rows after the checkpoint's frames are dropped first.
    Only rank 0 writes.

    Args:
        path: of the file.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)
        self._columns = read_columns(self.path)
        self._started = False

    @property
    def name(self) -> str:
        """For Lightning."""
        return "metrics"

    @property
    def version(self) -> str:
        """For Lightning."""
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run's configuration is a file of its own."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append a row; metrics seen for the first time get a new column."""
        row = {key: value for key, value in metrics.items() if key not in ("epoch", "step")}
        row[FRAMES] = int(row.get(FRAMES, step or 0))
        new = [key for key in sorted(row) if key not in self._columns]
        if new or not self._started:
            rows = [kept for kept in read_metrics(self.path) if kept[FRAMES] < row[FRAMES]]
            first = [] if FRAMES in self._columns else [FRAMES]
            self._columns = [*first, *self._columns, *(key for key in new if key != FRAMES)]
            self._rewrite([*rows, row])
            self._started = True
            return
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self._columns).writerow(row)

    def _rewrite(self, rows: list[dict[str, float]]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            for row in rows:
                known = {key: value for key, value in row.items() if not math.isnan(value)}
                writer.writerow(known | {FRAMES: int(row[FRAMES])})
        partial.replace(self.path)


def read_columns(path: Path) -> list[str]:
    """Names of the columns of a metrics file; empty if there is none."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return next(csv.reader(file), [])


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Rows of a metrics file; NaN where a metric is missing."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            {key: float(value) if value else math.nan for key, value in row.items()}
            for row in csv.DictReader(file)
        ]


def wandb_logger(directory: str, project: str, name: str, mode: str = "auto") -> WandbLogger:
    """A Weights & Biases logger that never asks a question.

    Args:
        directory: where the run's files are kept.
        project: at Weights & Biases.
        name: of the run.
        mode: ``"auto"`` is online where an API key is found and offline elsewhere; a run that was
            logged offline can be sent later with ``wandb sync``.

    Raises:
        ValueError: unknown mode, or ``"online"`` without an API key.
    """
    if mode not in WANDB_MODES:
        raise ValueError(f"logger.wandb.mode is {mode!r}; choose from {', '.join(WANDB_MODES)}")
    key = _has_wandb_key()
    if mode == "online" and not key:
        raise ValueError("logger.wandb.mode is 'online' but there is no API key; run `wandb login` first")
    import wandb

    settings = wandb.Settings(silent=True, console="off", disable_git=True, x_disable_stats=True)
    logger = WandbLogger(
        project=project,
        name=name,
        version=_wandb_id(Path(directory) / "wandb_id"),
        save_dir=directory,
        offline=mode == "offline" or not key,
        log_model=False,
        settings=settings,
    )
    logger._wandb_init.pop("anonymous", None)  # W&B warns of this setting, which Lightning always sends
    return logger


def _wandb_id(path: Path) -> str:
    """The run's id at W&B, drawn once and kept in ``path``, so that a resumed run goes on there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(uuid.uuid4().hex[:12])
    return path.read_text().strip()


def _has_wandb_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (FileNotFoundError, netrc.NetrcParseError):
        return False
