"""What holds for every test: one thread, no account, no screen, settings that suit a slow machine."""

import json
import os
from pathlib import Path

# Compiling MuJoCo Warp's kernels takes a minute: once for all runs and processes.
os.environ.setdefault("WARP_CACHE_PATH", str(Path(__file__).parents[1] / ".warp_cache"))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MUJOCO_GL", "egl")
os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true")
for name in ("WANDB_API_KEY", "WANDB_RUN_ID", "WANDB_DIR"):
    os.environ.pop(name, None)

import hypothesis
import pytest
import torch

torch.set_num_threads(1)

hypothesis.settings.register_profile("project", max_examples=50, deadline=None, derandomize=True)
hypothesis.settings.load_profile("project")


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="also run what takes minutes")
    parser.addoption("--chaos-table", metavar="FILE", help="append what failures cost to FILE, a JSON a line")


def pytest_collection_modifyitems(config, items):
    absent = {
        "slow": None if config.getoption("--slow") else "takes minutes: --slow",
        "gpu": None if torch.cuda.is_available() else "there is no GPU",
    }
    for item in items:
        for marker, reason in absent.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def record_chaos(request):
    """``record_chaos(what, detected_s, lost, continued)``: note what a failure cost, if asked to."""
    table = request.config.getoption("--chaos-table")

    def record(what: str, detected_s: float, lost: str, continued: str) -> None:
        row = {"what": what, "detected_s": round(detected_s, 1), "lost": lost, "continued": continued}
        if table:
            with open(table, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    return record


@pytest.fixture(autouse=True)
def _seed():
    """Tests that draw without a generator of their own see the same numbers in any order."""
    torch.manual_seed(0)
