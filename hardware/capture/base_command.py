"""``python -m hardware calibrate base``: where the hand's base stands, by its reference markers."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import replace

import numpy as np

from hardware.capture.registration import calibrate_base, collect
from hardware.capture.rig import load_rig, save_rig
from hardware.capture.rigid import rms
from hardware.capture.sources import ADDRESSES, open_source


def configure(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"sources:\n{ADDRESSES}"
    parser.add_argument("--source", required=True, help="motion capture, see below")
    parser.add_argument("--rig", default="rig.json", help="file to read and write")
    parser.add_argument("--seconds", type=float, default=5.0, help="to average over")


def run(arguments: argparse.Namespace) -> int:
    """Record, tell residuals, write the rig."""
    rig = load_rig(arguments.rig)
    with contextlib.closing(open_source(arguments.source)) as source:
        base = calibrate_base(collect(source, arguments.seconds), rig)
    for id_, residual, scatter in zip(rig.references, base.residuals, base.scatter, strict=True):
        print(f"marker {id_}: {1000 * residual:.2f} mm from its place, scatter {1000 * scatter:.2f} mm rms")
    worst = rig.references[int(np.argmax(base.residuals))]
    print(f"base: {1000 * rms(base.residuals):.2f} mm rms over {base.frames} frames, worst marker {worst}")
    if rig.reference_positions is not None:
        moved = rms(np.linalg.norm(base.positions - rig.reference_positions, axis=1))
        print(f"base: {1000 * moved:.2f} mm rms from where it was calibrated before")
    figures = {**rig.figures, "base_residual": rms(base.residuals), "base_scatter": rms(base.scatter)}
    save_rig(replace(rig, reference_positions=base.positions, figures=figures), arguments.rig)
    print(f"wrote {arguments.rig}")
    return 0
