"""The direction in which points vary least: the eigenvector of the least eigenvalue of their covariance matrix."""

import math

import torch
from torch import Tensor

Vectors = tuple[Tensor, Tensor, Tensor]  # x, y, z, each (M,)

NO_WIDTH = 1e-8  # of the greatest variance: points with no more across lie on a line


def least_variance(xx: Tensor, xy: Tensor, xz: Tensor, yy: Tensor, yz: Tensor, zz: Tensor) -> Tensor:
    """Unit eigenvectors (M, 3) of the least eigenvalues of M covariance matrices, each entry float64 (M,).

    It is (0, 0, 1) if the second eigenvalue is 0 within rounding. The sign is open. One eigenvalue, the least or the
    greatest, lies apart from the other two: it is taken from the trigonometric solution of the cubic (Smith 1961) and
    its vector from cross products of rows. Where it is the greatest, the least is solved for in the plane across, as
    the cubic's solution has lost half of its digits for two values near each other.
    """
    mean = (xx + yy + zz) / 3
    xx, yy, zz = xx - mean, yy - mean, zz - mean
    scale = ((xx * xx + yy * yy + zz * zz + 2 * (xy * xy + xz * xz + yz * yz)) / 6).sqrt()
    divisor = torch.where(scale > 0, scale, 1)
    xx, xy, xz, yy, yz, zz = (entry / divisor for entry in (xx, xy, xz, yy, yz, zz))  # eigenvalues of -2 to 2
    determinant = xx * (yy * zz - yz * yz) - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
    is_long = determinant > 0
    angle = (determinant / 2).clamp(-1, 1).acos() / 3
    value = 2 * torch.where(is_long, angle, angle + 2 * math.pi / 3).cos()
    apart = _across((xx - value, xy, xz), (xy, yy - value, yz), (xz, yz, zz - value))
    first, second = _plane_across(apart)

    def product(one: Vectors, other: Vectors) -> Tensor:
        x, y, z = other
        return _dot(one, (xx * x + xy * y + xz * z, xy * x + yy * y + yz * z, xz * x + yz * y + zz * z))

    a, b, c = product(first, first), product(first, second), product(second, second)
    half = (a - c) / 2
    radius = (half * half + b * b).sqrt()
    along = torch.where(half > 0, -b, radius - half)
    beside = torch.where(half > 0, half + radius, -b)
    beside = torch.where(radius > 0, beside, 1)
    length = (along * along + beside * beside).sqrt()
    is_line = is_long & (mean + scale * ((a + c) / 2 + radius) <= NO_WIDTH * (mean + scale * value))
    least = [
        torch.where(is_long, (one * along + other * beside) / length, only)
        for one, other, only in zip(first, second, apart, strict=True)
    ]
    return torch.stack([torch.where(is_line, up, axis) for axis, up in zip(least, (0, 0, 1), strict=True)], 1)


def _across(*rows: Vectors) -> Vectors:
    """Unit vectors at right angles to three vectors in one plane."""
    best = _cross(rows[0], rows[1])
    size = _dot(best, best)
    for one, other in ((0, 2), (1, 2)):
        product = _cross(rows[one], rows[other])
        product_size = _dot(product, product)
        is_larger = product_size > size
        x, y, z = (torch.where(is_larger, new, old) for new, old in zip(product, best, strict=True))
        best = x, y, z
        size = torch.where(is_larger, product_size, size)
    length = size.sqrt()
    return best[0] / length, best[1] / length, best[2] / length


def _plane_across(normal: Vectors) -> tuple[Vectors, Vectors]:
    """Two unit vectors at right angles to a unit vector and to each other."""
    x, y, z = normal
    is_steep = z.abs() > x.abs()
    length = torch.where(is_steep, y * y + z * z, x * x + y * y).sqrt()
    first = (
        torch.where(is_steep, 0, -y) / length,
        torch.where(is_steep, z, x) / length,
        torch.where(is_steep, -y, 0) / length,
    )
    return first, _cross(normal, first)


def _cross(one: Vectors, other: Vectors) -> Vectors:
    return (
        one[1] * other[2] - one[2] * other[1],
        one[2] * other[0] - one[0] * other[2],
        one[0] * other[1] - one[1] * other[0],
    )


def _dot(one: Vectors, other: Vectors) -> Tensor:
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]
