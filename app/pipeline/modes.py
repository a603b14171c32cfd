"""How much a cloud is worth: names that also processes without torch need."""

MODES = ("fast", "exact")
MAX_PASSES = 128
"""Enough for the test procedures of published configs (ScanNet: 12 views of 2 to 10 fragments; nuScenes with its
pre-grid: 10 of 7) and for tiles of airborne LiDAR, far from the thousands that a few voxels of duplicates would cost.
"""
