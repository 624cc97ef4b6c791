"""Every row of Table 9 has the table's distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from dactyl_tl.randomization.appearance import AppearanceRandomization
from dactyl_tl.randomization.images import ImageAugmentation, ImageRandomization
from dactyl_tl.rendering.appearance import Appearance

SAMPLES = 3000


@pytest.fixture(scope="module")
def drawn() -> list[Appearance]:
    generator = torch.Generator().manual_seed(1)
    return [AppearanceRandomization().sample(3, 3, generator) for _ in range(SAMPLES)]


def values(drawn: list[Appearance], name: str) -> np.ndarray:
    return np.concatenate([np.ravel(getattr(each, name)) for each in drawn])


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("camera_position", -0.0015, 0.0015),
        ("camera_fov", -1.0, 1.0),
        ("robot_colour", 0.0, 1.0),
        ("robot_metallic", 0.05, 0.25),
        ("robot_glossiness", 0.0, 1.0),
        ("object_hue", -0.01, 0.01),
        ("object_saturation", 0.85, 1.15),
        ("object_value", 0.85, 1.15),
        ("object_metallic", 0.05, 0.15),
        ("object_glossiness", 0.05, 0.15),
        ("background", 0.0, 1.0),
    ],
)
def test_uniform_rows(drawn: list[Appearance], name: str, low: float, high: float) -> None:
    found = values(drawn, name)
    assert low <= found.min()
    assert found.max() <= high
    assert stats.kstest(found, stats.uniform(low, high - low).cdf).pvalue > 1e-3


def test_cameras_turn_by_up_to_three_degrees_about_any_axis(drawn: list[Appearance]) -> None:
    turns = np.concatenate([each.camera_rotation for each in drawn])
    angles = np.degrees(np.linalg.norm(turns, axis=1))
    assert stats.kstest(angles, stats.uniform(0, 3).cdf).pvalue > 1e-3
    axes = turns / np.linalg.norm(turns, axis=1, keepdims=True)
    for coordinate in axes.T:  # each coordinate of a uniform direction is uniform (Archimedes)
        assert stats.kstest(coordinate, stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_cameras_and_materials_are_drawn_apart(drawn: list[Appearance]) -> None:
    for name in ("camera_fov", "robot_metallic"):
        table = np.stack([getattr(each, name) for each in drawn])
        correlations = np.corrcoef(table.T) - np.eye(table.shape[1])
        assert np.abs(correlations).max() < 0.08


def test_four_to_six_lights_over_the_upper_half_sphere(drawn: list[Appearance]) -> None:
    counts = np.array([len(each.light_intensities) for each in drawn])
    assert stats.chisquare(np.bincount(counts)[4:]).pvalue > 1e-3
    assert set(counts) == {4, 5, 6}
    directions = np.concatenate([each.light_directions for each in drawn])
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0, atol=1e-5)
    assert stats.kstest(directions[:, 2], stats.uniform(0, 1).cdf).pvalue > 1e-3
    assert stats.kstest(directions[:, 0], stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_intensities_are_shares_of_one_to_five_of_a_total_up_to_fifteen(drawn: list[Appearance]) -> None:
    totals = np.array([each.light_intensities.sum() for each in drawn])
    assert stats.kstest(totals, stats.uniform(0, 15).cdf).pvalue > 1e-3
    ratios = [each.light_intensities.max() / each.light_intensities.min() for each in drawn]
    assert max(ratios) <= 5.0 + 1e-9
    assert max(ratios) > 4.5


def test_half_of_the_sets_have_shadows(drawn: list[Appearance]) -> None:
    assert np.mean([each.shadows for each in drawn]) == pytest.approx(0.5, abs=0.03)


def test_contrast_and_noise_of_standardised_pictures() -> None:
    augment = ImageAugmentation(ImageRandomization())
    flat = augment(torch.ones(400, 3, 3, 20, 20))
    assert flat.shape == (400, 3, 3, 20, 20)
    levels = flat.mean((-3, -2, -1)).flatten().numpy()
    # The mean of 1200 values of noise is 0.1 / sqrt(1200) wide.
    assert stats.kstest(levels, stats.uniform(0.5, 1.0).cdf).pvalue > 1e-3
    assert flat.std((-3, -2, -1)).mean().item() == pytest.approx(0.1, rel=0.02)
    dark = augment(torch.full((100, 3, 3, 20, 20), -1.0)).mean((-3, -2, -1))
    assert -1.6 < dark.min() < -1.4 < -0.6 < dark.max() < -0.4  # neither clipped nor shifted


@pytest.mark.parametrize(("wrong", "name"), [
    ({"contrast": (0.0, 1.0)}, "contrast"), ({"contrast": (2.0, 1.0)}, "contrast"),
    ({"noise": -0.1}, "noise"),
])  # fmt: skip
def test_ranges_that_make_no_sense_are_refused(wrong: dict, name: str) -> None:
    with pytest.raises(ValueError, match=f"images.{name}"):
        ImageRandomization(**wrong)
