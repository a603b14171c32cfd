"""The functions of the module that lies under Pointcept's pointops: they fill tensors of the caller.

Names, order of arguments and what is written or added where are Pointcept's; on the CPU and on CUDA, compiled or not.
The counts that come first must be those of the tensors. Nothing is recorded for derivatives. All raise ValueError for
wrong counts, shapes, dtypes and devices.
"""

# a folder, for an extension of this name that an older build left beside it would hide a file
from .attention import (
    attention_fusion_step_backward_cuda,
    attention_fusion_step_forward_cuda,
    attention_relation_step_backward_cuda,
    attention_relation_step_forward_cuda,
)
from .features import (
    aggregation_backward_cuda,
    aggregation_forward_cuda,
    grouping_backward_cuda,
    grouping_forward_cuda,
    interpolation_backward_cuda,
    interpolation_forward_cuda,
    subtraction_backward_cuda,
    subtraction_forward_cuda,
)
from .neighbours import ball_query_cuda, farthest_point_sampling_cuda, knn_query_cuda, random_ball_query_cuda

__all__ = [
    "aggregation_backward_cuda",
    "aggregation_forward_cuda",
    "attention_fusion_step_backward_cuda",
    "attention_fusion_step_forward_cuda",
    "attention_relation_step_backward_cuda",
    "attention_relation_step_forward_cuda",
    "ball_query_cuda",
    "farthest_point_sampling_cuda",
    "grouping_backward_cuda",
    "grouping_forward_cuda",
    "interpolation_backward_cuda",
    "interpolation_forward_cuda",
    "knn_query_cuda",
    "random_ball_query_cuda",
    "subtraction_backward_cuda",
    "subtraction_forward_cuda",
]
