"""Areas of as many corners as the boundaries of municipalities have."""

import json

import numpy as np

CORNERS = 20_000


def round_area(x: float, y: float, radius: float, corners: int = CORNERS) -> str:
    """GeoJSON of what is nearly a circle around ``x``, ``y``, with all digits of its coordinates."""
    angles = np.arange(corners) * 2 * np.pi / corners
    ring = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1).tolist()
    return json.dumps({"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}})
