"""Quaternions (w, x, y, z) as batched torch operations: every tensor is (..., 4) and of unit norm."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton product, the rotation ``b`` followed by ``a``: (..., 4)."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack(
        (
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ),
        dim=-1,
    )


def conjugate(q: Tensor) -> Tensor:
    """The inverse rotation: (..., 4)."""
    return torch.cat((q[..., :1], -q[..., 1:]), dim=-1)


def normalize(q: Tensor) -> Tensor:
    """Scale to unit norm: (..., 4)."""
    return q / q.norm(dim=-1, keepdim=True)


def canonical(q: Tensor) -> Tensor:
    """Of the two quaternions of a rotation, the one whose w is not negative: (..., 4)."""
    return torch.where(q[..., :1] < 0, -q, q)


def rotate(q: Tensor, v: Tensor) -> Tensor:
    """Rotate the vectors ``v`` (..., 3) by ``q`` (..., 4)."""
    w, axis = q[..., :1], q[..., 1:]
    twice = 2.0 * torch.linalg.cross(axis, v)
    return v + w * twice + torch.linalg.cross(axis, twice)


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Angle of the rotation between ``a`` and ``b``, rad in [0, pi]: (...)."""
    relative = multiply(a, conjugate(b))
    # atan2 keeps full precision near 0 and pi, where acos of the scalar part loses half the digits
    return 2.0 * torch.atan2(relative[..., 1:].norm(dim=-1), relative[..., 0].abs())


def from_rotation_vector(v: Tensor) -> Tensor:
    """Rotation about the axis ``v`` (..., 3) by the angle ``|v|`` rad: (..., 4)."""
    half = 0.5 * v.norm(dim=-1, keepdim=True)
    # sinc is smooth at zero: sin(half) / |v| = 0.5 * sinc(half / pi)
    return torch.cat((torch.cos(half), 0.5 * torch.sinc(half / math.pi) * v), dim=-1)


def from_matrix(m: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) as canonical quaternions (..., 4)."""
    m00, m11, m22 = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    # Each candidate is 4 |component| times the quaternion; the largest one is well conditioned.
    candidates = torch.stack(
        (
            torch.stack(
                (1 + m00 + m11 + m22, m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0],
                 m[..., 1, 0] - m[..., 0, 1]), -1),
            torch.stack(
                (m[..., 2, 1] - m[..., 1, 2], 1 + m00 - m11 - m22, m[..., 0, 1] + m[..., 1, 0],
                 m[..., 0, 2] + m[..., 2, 0]), -1),
            torch.stack(
                (m[..., 0, 2] - m[..., 2, 0], m[..., 0, 1] + m[..., 1, 0], 1 - m00 + m11 - m22,
                 m[..., 1, 2] + m[..., 2, 1]), -1),
            torch.stack(
                (m[..., 1, 0] - m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1],
                 1 - m00 - m11 + m22), -1),
        ),
        dim=-2,
    )  # fmt: skip
    best = candidates.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)
    index = best[..., None, None].expand(*best.shape, 1, 4)
    return canonical(normalize(candidates.gather(-2, index).squeeze(-2)))


def to_matrix(q: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of quaternions (..., 4)."""
    axes = torch.eye(3, dtype=q.dtype, device=q.device)
    columns = [rotate(q, axis.expand(*q.shape[:-1], 3)) for axis in axes]
    return torch.stack(columns, dim=-1)


def nearest_rotation(m: Tensor) -> Tensor:
    """The rotation matrices closest to any matrices (..., 3, 3), in the sense of least squares."""
    u, _, vh = torch.linalg.svd(m)
    sign = torch.linalg.det(u @ vh)
    scale = torch.stack((torch.ones_like(sign), torch.ones_like(sign), sign), dim=-1)
    return (u * scale[..., None, :]) @ vh


def uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Rotations drawn uniformly from SO(3): (*shape, 4) on the generator's device."""
    return normalize(torch.randn(*shape, 4, generator=generator, device=generator.device))


def uniform_axis(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Directions drawn uniformly from the sphere: (*shape, 3) on the generator's device."""
    v = torch.randn(*shape, 3, generator=generator, device=generator.device)
    return v / v.norm(dim=-1, keepdim=True)


@functools.cache
def parallel(device: torch.device | str = "cpu") -> Tensor:
    """The 24 rotations that map the coordinate axes to each other: (24, 4), not to be written to."""
    half = math.sqrt(0.5)
    faces = torch.tensor(  # which face looks up
        [[1, 0, 0, 0], [half, half, 0, 0], [half, -half, 0, 0], [half, 0, half, 0], [half, 0, -half, 0],
         [0, 1, 0, 0]],
        device=device,
    )  # fmt: skip
    quarter_turns = torch.tensor(
        [[1, 0, 0, 0], [half, 0, 0, half], [0, 0, 0, 1], [half, 0, 0, -half]], device=device
    )
    return multiply(quarter_turns[:, None], faces[None]).reshape(24, 4)


def about_vertical(angle: Tensor) -> Tensor:
    """Rotations by ``angle`` rad (...) about the world's z axis: (..., 4)."""
    zero = torch.zeros_like(angle)
    return torch.stack((torch.cos(angle / 2), zero, zero, torch.sin(angle / 2)), dim=-1)
