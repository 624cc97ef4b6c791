"""How fast pictures are drawn, learnt from and understood.

    python -m benchmarks.rendering [--output results.json] [--seconds 10]

*Drawing*: images a second of each renderer on one core, with and without shadows and with all of the hand's
mesh faces, beside a plain loop over ``mujoco.Renderer`` that draws the same cameras of the same scene one
after the other. Every contender runs in a process of its own, they are measured in turns, and medians of the
turns are printed. Looks are drawn anew for each set of pictures but in the plain loop, which cannot.

*Inference*: one set of three pictures to the pose (standardised, network, nearest rotation), and a policy's
step on it, on one core: median and 99th percentile of single calls. The paper's budget is 25 ms inside its
control step of 80 ms.

*Training*: ``train.py experiment=pose`` from nothing, pictures drawn afresh, and the same from a cache:
images learnt from a second, and the share of the time that the learner waits for them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import environment, heading, spread, table, write_json

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("mujoco", "mujoco-studio", "torch", "pytorch-lightning", "kornia", "numpy")
TURNS = 3
CAMERAS = 3


@dataclass(frozen=True)
class Contender:
    """One way to draw."""

    title: str
    draw: Callable[[], Callable[[np.ndarray, Any], Any]]
    shadows: bool | None = None
    """Of the looks; None leaves it to chance, as in training."""


def _filament(**options: Any) -> Callable[[np.ndarray, Any], Any]:
    from dactyl_tl.rendering.filament import FilamentCameras

    return FilamentCameras(**options).render


def _classic(**options: Any) -> Callable[[np.ndarray, Any], Any]:
    from dactyl_tl.rendering.classic_cameras import ClassicCameras

    return ClassicCameras(**options).render


def _plain_loop() -> Callable[[np.ndarray, Any], Any]:
    """What one would write first: MuJoCo's own renderer, camera after camera, the model as it is shipped."""
    import mujoco

    from dactyl_tl.contract import CAMERAS as NAMES
    from dactyl_tl.rendering.cameras import CameraScene

    scene = CameraScene("block", physical=False, mesh_share=1.0)
    scene.model.vis.quality.offsamples = 4  # MuJoCo's defaults
    scene.model.vis.quality.shadowsize = 4096
    renderer = mujoco.Renderer(scene.model, 200, 200)

    def draw(qpos: np.ndarray, appearance: Any) -> list[np.ndarray]:
        scene.pose(qpos)
        pictures = []
        for name in NAMES:
            renderer.update_scene(scene.data, name)
            pictures.append(renderer.render())
        return pictures

    return draw


CONTENDERS = {
    "filament": Contender("Filament, as in training", _filament),
    "filament_shadows": Contender("Filament, always with shadows", _filament, True),
    "filament_no_shadows": Contender("Filament, without shadows", _filament, False),
    "filament_whole": Contender("Filament, all mesh faces", lambda: _filament(mesh_share=1.0)),
    "classic": Contender("classic, as in evaluation", _classic),
    "classic_no_shadows": Contender("classic, without shadows", _classic, False),
    "classic_whole": Contender("classic, all mesh faces", lambda: _classic(mesh_share=1.0)),
    "classic_rough": Contender("classic, drawn at its own size", lambda: _classic(supersample=1)),
    "plain": Contender("plain mujoco.Renderer loop", _plain_loop),
}


def measure_drawing(name: str, seconds: float) -> float:
    """Images a second of one contender, in this process."""
    from dataclasses import replace

    import torch

    from dactyl_tl.randomization.appearance import AppearanceRandomization
    from dactyl_tl.vision.states import gather

    contender = CONTENDERS[name]
    states = gather(None, {"task": "block", "randomization": "none"}, count=200, every=2, num_envs=8, seed=0)
    draw, ranges = contender.draw(), AppearanceRandomization()
    generator = torch.Generator().manual_seed(0)

    def one(number: int) -> None:
        looks = ranges.sample(CAMERAS, 3, generator)
        if contender.shadows is not None:
            looks = replace(looks, shadows=contender.shadows)
        draw(states.qpos[number % len(states)].double().numpy(), looks)

    for number in range(5):
        one(number)
    began, sets = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        one(sets)
        sets += 1
    return CAMERAS * sets / (time.perf_counter() - began)


def measure_inference(calls: int = 300) -> dict[str, list[float]]:
    """Milliseconds of single calls on one thread, warm."""
    import torch
    from tensordict import TensorDict

    from dactyl_tl import load_policy
    from dactyl_tl.contract import OBSERVATION_SIZES, policy_keys
    from dactyl_tl.estimators import shipped_estimators
    from dactyl_tl.estimators.bundles import PoseEstimator, load_estimator
    from dactyl_tl.models.config import PoseNetworkConfig
    from dactyl_tl.models.pose import PoseNetwork

    torch.set_num_threads(1)
    literal = PoseNetworkConfig(stem_stride=1, group_strides=(1, 2, 2, 1))
    estimators = {name: load_estimator(name) for name in shipped_estimators()[:1]}
    estimators |= {
        "default strides, untrained": PoseEstimator(PoseNetwork(PoseNetworkConfig()), {}),
        "Table 12's first strides, untrained": PoseEstimator(PoseNetwork(literal), {}),
    }
    policy = load_policy("block_lstm")
    pictures = torch.randint(0, 256, (1, CAMERAS, 200, 200, 3), dtype=torch.uint8)
    seen = TensorDict({key: torch.randn(1, OBSERVATION_SIZES[key[1]]) for key in policy_keys()}, [1])
    seen["is_init"] = torch.zeros(1, 1, dtype=torch.bool)
    times: dict[str, list[float]] = {}
    for name, estimator in estimators.items():
        spent = []
        for call in range(calls + 20):
            began = time.perf_counter()
            position, _ = estimator(pictures)
            seen["policy", "object_position"] = position
            policy(seen)
            if call >= 20:
                spent.append(1000 * (time.perf_counter() - began))
        times[name] = spent
    return times


def measure_training(folder: Path, cached: bool, frames: int) -> dict[str, float]:
    """The last report of a short training."""
    words = [
        "experiment=pose", "pictures.states=2000", "pictures.num_envs=64", "pictures.validation=8",
        "pose.batch_size=16", f"pose.report_every={frames // 32}", f"frames={frames}", "logger=csv",
        "threads=1",
        "trainer.precision=bf16-mixed", f"pictures.workers={max(1, (os.cpu_count() or 2) - 1)}",
        f"hydra.run.dir={folder}",
    ]  # fmt: skip
    if cached:
        words += [f"pictures.cache={folder}/pictures", "pictures.cache_sets=512"]
    environ = os.environ | {"WANDB_MODE": "offline"}
    subprocess.run(
        [sys.executable, "train.py", *words], cwd=ROOT, env=environ, check=True, capture_output=True
    )
    from dactyl_tl.metrics import read_metrics
    from dactyl_tl.policies import METRICS

    return read_metrics(folder / METRICS)[-1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rendering", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each turn of drawing")
    parser.add_argument("--frames", type=int, default=1600, help="sets of pictures of each training")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--only", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.only:
        print(json.dumps(measure_drawing(options.only, options.seconds)))
        return
    facts = environment(PACKAGES)
    print(heading(facts), flush=True)
    results: dict[str, Any] = {"drawing": _draw_in_turns(options.seconds)}
    results["inference"] = measure_inference()
    rows = [
        (name, f"{np.median(times):.1f}", f"{np.percentile(times, 99):.1f}")
        for name, times in results["inference"].items()
    ]
    print("\n" + table(("three pictures to a pose, and an LSTM policy's step", "median ms", "99 % ms"), rows))
    with tempfile.TemporaryDirectory() as folder:
        trainings = {
            "drawn afresh": measure_training(Path(folder) / "fresh", False, options.frames),
            "from a cache": measure_training(Path(folder) / "cached", True, options.frames),
        }
    results["training"] = trainings
    rows = [
        (name, f"{row['throughput/pictures_per_second']:.0f}", f"{100 * row['throughput/waiting']:.0f} %")
        for name, row in trainings.items()
    ]
    print("\n" + table(("training", "images/s", "learner waits"), rows))
    if options.output:
        write_json(options.output, facts | results)


def _draw_in_turns(seconds: float) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    environ = {"MUJOCO_GL": "egl"} | os.environ | {"LP_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    for _ in range(TURNS):
        for name in CONTENDERS:
            command = [
                sys.executable,
                "-m",
                "benchmarks.rendering",
                "--only",
                name,
                "--seconds",
                str(seconds),
            ]
            if sys.platform == "linux":
                command = ["taskset", "-c", "0", *command]
            ended = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
            found[name].append(float(ended.stdout.splitlines()[-1]))
    rows = []
    for name, values in found.items():
        middle, half = spread(values)
        times = middle / spread(found["plain"])[0]
        rows.append((CONTENDERS[name].title, f"{middle:.1f}", f"{half:.1f}", f"{times:.1f}"))
    print("\n" + table(("drawing, one core", "images/s", "+-", "times the plain loop"), rows), flush=True)
    return found


if __name__ == "__main__":
    main()
