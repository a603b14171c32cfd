"""Instances from points: ball query and breadth-first clustering, with the interface of Pointcept's pointgroup_ops."""

from .clustering import Clustering
from .extension import ARCHITECTURES
from .functions import ballquery_batch_p, bfs_cluster

__all__ = ["ARCHITECTURES", "Clustering", "ballquery_batch_p", "bfs_cluster"]
