"""How far a network looks, without torch."""

HALO_VOXELS = 64  # around a place, that its answer may depend on
