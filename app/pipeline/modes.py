"""How much a cloud is worth: names that also processes without torch need."""

MODES = ("fast", "exact")
MAX_PASSES = 128
"""Enough for the test procedures of the published configs (ScanNet: 13 views of up to 10 points in a voxel; nuScenes
with its pre-grid: 10 of 7), and for tiles of airborne LiDAR; far from the thousands that a few voxels full of duplicates
would take."""
