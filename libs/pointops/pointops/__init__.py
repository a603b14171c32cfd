"""The interface of Pointcept's pointops: neighbour queries, farthest point sampling and features of neighbours.

Beside it is ``neighbour_moments``. On the CPU and on CUDA; without a compiler the operators run in plain torch.
"""

from . import _C as _C
from .attention import attention_fusion_step, attention_relation_step
from .extension import ARCHITECTURES
from .features import aggregation, grouping, grouping2, interpolation, interpolation2, subtraction
from .groups import ball_query_and_group, batch2offset, knn_query_and_group, offset2batch, query_and_group
from .moments import neighbour_moments
from .neighbours import ball_query, knn_query, random_ball_query
from .sampling import farthest_point_sampling

if ARCHITECTURES:
    from .autograd import register

    register()

__all__ = [
    "ARCHITECTURES",
    "aggregation",
    "attention_fusion_step",
    "attention_relation_step",
    "ball_query",
    "ball_query_and_group",
    "batch2offset",
    "farthest_point_sampling",
    "grouping",
    "grouping2",
    "interpolation",
    "interpolation2",
    "knn_query",
    "knn_query_and_group",
    "neighbour_moments",
    "offset2batch",
    "query_and_group",
    "random_ball_query",
    "subtraction",
]
