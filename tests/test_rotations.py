import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from dactyl_tl import rotations as rot

angles = st.floats(0.0, math.pi)


def about(axis, angle):
    return rot.from_rotation_vector(angle * torch.tensor(axis, dtype=torch.float64))


def test_distance_of_known_rotations():
    identity = torch.tensor([1.0, 0.0, 0.0, 0.0])
    quarter = torch.tensor([math.cos(math.pi / 8), 0.0, math.sin(math.pi / 8), 0.0])
    assert rot.distance(identity, quarter).item() == pytest.approx(math.pi / 4, abs=1e-6)
    assert rot.distance(identity, -identity).item() == pytest.approx(0.0, abs=1e-6)
    half = torch.tensor([0.0, 1.0, 0.0, 0.0])
    assert rot.distance(identity, half).item() == pytest.approx(math.pi, abs=1e-6)


@given(angles)
def test_distance_recovers_any_angle(angle):
    q = about([0.6, 0.0, 0.8], angle)
    assert rot.distance(q, torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)).item() == pytest.approx(
        angle, abs=1e-9
    )


def test_multiply_composes_and_rotate_turns_vectors():
    z90, x90 = about([0.0, 0.0, 1.0], math.pi / 2), about([1.0, 0.0, 0.0], math.pi / 2)
    y = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    # first z: y -> -x, then x leaves it there; the other order: y -> z, then z leaves it there
    torch.testing.assert_close(rot.rotate(rot.multiply(x90, z90), y), torch.tensor([-1.0, 0, 0]).double())
    torch.testing.assert_close(rot.rotate(rot.multiply(z90, x90), y), torch.tensor([0, 0, 1.0]).double())


def test_from_matrix_inverts_rotation_of_the_axes():
    g = torch.Generator().manual_seed(0)
    q = rot.canonical(rot.uniform((500,), g))
    columns = [rot.rotate(q, torch.eye(3)[i].expand(500, 3)) for i in range(3)]
    torch.testing.assert_close(rot.from_matrix(torch.stack(columns, -1)), q, atol=1e-5, rtol=0)


def test_uniform_has_the_angle_distribution_of_so3():
    q = rot.uniform((100_000,), torch.Generator().manual_seed(1))
    angle = rot.distance(q, torch.tensor([1.0, 0, 0, 0]).expand_as(q))
    # density (1 - cos a) / pi: mean pi/2 + 2/pi, P(a < 0.4) = (0.4 - sin 0.4) / pi
    assert angle.mean().item() == pytest.approx(math.pi / 2 + 2 / math.pi, abs=0.01)
    assert (angle < 0.4).float().mean().item() == pytest.approx((0.4 - math.sin(0.4)) / math.pi, abs=0.001)


def test_parallel_holds_the_24_rotations_of_a_cube():
    q = rot.parallel()
    matrices = torch.stack([rot.rotate(q, torch.eye(3)[i].expand(24, 3)) for i in range(3)], -1)
    assert torch.allclose(matrices.abs().sort(-1).values, torch.tensor([0.0, 0.0, 1.0]), atol=1e-6)
    apart = rot.distance(q[:, None], q[None]) + 10 * torch.eye(24)
    assert apart.min() > 1.5
