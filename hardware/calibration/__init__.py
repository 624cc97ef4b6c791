"""Calibrations of a hand and its cameras: joint sensors, camera extrinsics, and the simulated model."""
