"""Every public function, each of its tensors in turn wrong in one way: a ValueError that states what was given.

All of them on the meta device are no fault to sparseops."""

import inspect
import re
from dataclasses import is_dataclass
from importlib import import_module

import pointgroup_ops
import pointgroup_ops_cuda
import pointops
import pytest
import sparseops
import torch
from pointops import _C

from app.operators import LIBRARIES

XYZ, FEAT, OFFSET = torch.rand(10, 3), torch.rand(10, 4), torch.tensor([4, 10])
NEW_XYZ, NEW_OFFSET = XYZ[::2].contiguous(), torch.tensor([2, 5])
IDX = torch.zeros(10, 2, dtype=torch.int32)
HEADS, EDGES = torch.rand(10, 2, 4), torch.zeros(6, dtype=torch.int32)
CLOUDS = {"batch_idxs": torch.tensor([0, 0, 1]).int(), "batch_offsets": torch.tensor([0, 2, 3]).int()}
QUERY = {"xyz": XYZ, "offset": OFFSET, "new_xyz": NEW_XYZ, "new_offset": NEW_OFFSET}
RADII = {"max_radius": 0.5, "min_radius": 0.0}
EDGE = {"index_target": EDGES, "index_refer": EDGES}
CLUSTERS = {
    "semantic_label": torch.zeros(3).int(),
    "ball_query_idxs": torch.arange(3).int(),
    "start_len": torch.tensor([[0, 1], [1, 1], [2, 1]]).int(),
    "threshold": 1,
}
FOUND = {"idx": torch.zeros(5, 2).int(), "dist2": torch.zeros(5, 2)}
COUNTS = {"n": 10, "nsample": 2, "c": 4}
AGGREGATED = {"input": FEAT, "position": torch.rand(10, 2, 4), "weight": torch.rand(10, 2, 2), "idx": IDX}
GROUPED = {"m": 10, "nsample": 2, "c": 4, "idx": IDX}
INTERPOLATED = {"n": 10, "c": 4, "k": 2, "idx": IDX, "weight": torch.rand(10, 2)}
RELATION = {"m": 6, "g": 2, "c": 4, "query": HEADS, "key": HEADS, "weight": torch.rand(4), **EDGE}
FUSION = {"m": 6, "g": 2, "c": 4, "weight": torch.rand(6, 2), "value": HEADS, **EDGE}
CLUSTERING = pointgroup_ops.Clustering(ignored_labels=[], class_mapping=torch.arange(4), min_points=1, propose_points=0)

RAW_CALLS = {
    _C.knn_query_cuda: {"m": 5, "nsample": 2, **QUERY, **FOUND},
    _C.ball_query_cuda: {"m": 5, "nsample": 2, **RADII, **QUERY, **FOUND},
    _C.random_ball_query_cuda: {"m": 5, "nsample": 2, **RADII, "order": torch.arange(10).int(), **QUERY, **FOUND},
    _C.farthest_point_sampling_cuda: {
        "b": 2,
        "n": 6,
        "xyz": XYZ,
        "offset": OFFSET,
        "new_offset": NEW_OFFSET,
        "tmp": torch.zeros(10),
        "idx": torch.zeros(5).int(),
    },
    _C.grouping_forward_cuda: {**GROUPED, "input": FEAT, "output": torch.zeros(10, 2, 4)},
    _C.grouping_backward_cuda: {**GROUPED, "grad_output": torch.rand(10, 2, 4), "grad_input": torch.zeros(10, 4)},
    _C.interpolation_forward_cuda: {**INTERPOLATED, "input": FEAT, "output": torch.zeros(10, 4)},
    _C.interpolation_backward_cuda: {**INTERPOLATED, "grad_output": FEAT, "grad_input": torch.zeros(10, 4)},
    _C.subtraction_forward_cuda: {
        **COUNTS,
        "input1": FEAT,
        "input2": FEAT,
        "idx": IDX,
        "output": torch.zeros(10, 2, 4),
    },
    _C.subtraction_backward_cuda: {
        **COUNTS,
        "idx": IDX,
        "grad_output": torch.rand(10, 2, 4),
        "grad_input1": torch.zeros(10, 4),
        "grad_input2": torch.zeros(10, 4),
    },
    _C.aggregation_forward_cuda: {**COUNTS, "w_c": 2, **AGGREGATED, "output": torch.zeros(10, 4)},
    _C.aggregation_backward_cuda: {
        **COUNTS,
        "w_c": 2,
        **AGGREGATED,
        "grad_output": FEAT,
        "grad_input": torch.zeros(10, 4),
        "grad_position": torch.zeros(10, 2, 4),
        "grad_weight": torch.zeros(10, 2, 2),
    },
    _C.attention_relation_step_forward_cuda: {**RELATION, "output": torch.zeros(6, 2)},
    _C.attention_relation_step_backward_cuda: {
        **RELATION,
        "grad_output": torch.rand(6, 2),
        "grad_query": torch.zeros(10, 2, 4),
        "grad_key": torch.zeros(10, 2, 4),
        "grad_weight": torch.zeros(4),
    },
    _C.attention_fusion_step_forward_cuda: {**FUSION, "output": torch.zeros(10, 2, 4)},
    _C.attention_fusion_step_backward_cuda: {
        **FUSION,
        "grad_output": torch.rand(10, 2, 4),
        "grad_weight": torch.zeros(6, 2),
        "grad_value": torch.zeros(10, 2, 4),
    },
}
OPERATORS = {
    getattr(import_module(library), operator.function): operator
    for library in LIBRARIES
    for operator in import_module(f"app.operators.{library}").OPERATORS
}
VOXELS = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 2, 1]])
ORDER = torch.tensor([[0, 2, 1]]).int()
LEVEL_CALLS = {  # of lists of tensors, one a level
    sparseops.submanifold_maps: {"coords": [VOXELS, VOXELS], "kernel_sizes": [3, 3]},
    sparseops.level_patches: {"orders": [ORDER], "inverses": [ORDER], "ends": [[3]], "patch_sizes": [2]},
}
CALLS = {
    **RAW_CALLS,
    **{function: operator.made(10) for function, operator in OPERATORS.items()},
    sparseops.ordered_voxels: {"coords": VOXELS, "depths": [3], "curves": ["z"]},
    **LEVEL_CALLS,
    pointgroup_ops.Clustering: {"ignored_labels": [], "class_mapping": torch.arange(4)},
    pointgroup_ops.Clustering.get_instances: {"self": CLUSTERING, "vertices": XYZ, "scores": FEAT},
    pointgroup_ops.Clustering.cluster: {"self": CLUSTERING, "vertices": XYZ, "scores": FEAT},
    pointgroup_ops.Clustering.cluster_: {"self": CLUSTERING, "vertices": XYZ, "labels": torch.arange(10) % 4},
    pointgroup_ops_cuda.ballquery_batch_p: {
        "xyz": torch.rand(3, 3),
        **CLOUDS,
        "idx": torch.zeros(6).int(),
        "start_len": torch.zeros(3, 2).int(),
        "n": 3,
        "mean_active": 2,
        "radius": 1.0,
    },
    pointgroup_ops_cuda.bfs_cluster: {
        **CLUSTERS,
        "cluster_idxs": torch.zeros(3, 2).int(),
        "cluster_offsets": torch.zeros(4).int(),
        "n": 3,
    },
}


def gapped(tensor):
    """The same values with gaps between the rows."""
    return torch.stack([tensor, tensor], -1)[..., 0]


FAULTS = {
    "shape": lambda tensor: tensor[None],
    "dtype": lambda tensor: tensor.to(torch.complex64),
    "device": lambda tensor: tensor.to("meta"),
    "layout": gapped,
}
COPIED = [
    (pointgroup_ops.Clustering, "class_mapping"),
    (pointgroup_ops.Clustering.get_instances, "vertices"),
    (pointgroup_ops.Clustering.get_instances, "scores"),
    (pointgroup_ops.Clustering.cluster, "vertices"),
    (pointgroup_ops.Clustering.cluster, "scores"),
    (pointgroup_ops.Clustering.cluster_, "vertices"),
    (pointgroup_ops.Clustering.cluster_, "labels"),
    *((function, name) for function, operator in OPERATORS.items() for name in sorted(operator.gapped)),
]
ANY_SHAPE = {
    (pointgroup_ops_cuda.bfs_cluster, "cluster_idxs"),
    (pointgroup_ops_cuda.bfs_cluster, "cluster_offsets"),
    *((function, name) for function, operator in OPERATORS.items() for name in operator.any_shape),
}


def cases():
    for function, arguments in CALLS.items():
        tensors = [name for name, value in arguments.items() if isinstance(value, torch.Tensor)]
        for name in tensors:
            for fault in FAULTS:
                if fault == "layout" and (function, name) in COPIED:
                    continue
                if fault == "shape" and (function, name) in ANY_SHAPE:
                    continue
                if fault == "device" and len(tensors) == 1:  # there is no other that it could differ from
                    continue
                yield pytest.param(
                    function, name, fault, id=f"{function.__module__}.{function.__qualname__}-{name}-{fault}"
                )


@pytest.mark.parametrize(("function", "name", "fault"), list(cases()))
def test_a_wrong_tensor_is_told(function, name, fault):
    arguments = CALLS[function]
    function(**arguments)
    wrong = FAULTS[fault](arguments[name])
    given = {
        "shape": str(tuple(wrong.shape)),
        "dtype": "complex64",
        "device": "meta",
        "layout": "contiguous",
    }[fault]
    with pytest.raises(ValueError, match=re.escape(given)):
        function(**arguments | {name: wrong})


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (sparseops.submanifold_maps, "coords"),
        (sparseops.level_patches, "orders"),
        (sparseops.level_patches, "inverses"),
    ],
)
@pytest.mark.parametrize("fault", ["shape", "dtype", "layout"])
def test_a_wrong_tensor_of_a_level_is_told(function, name, fault):
    arguments = LEVEL_CALLS[function]
    function(**arguments)
    *levels, last = arguments[name]
    wrong = FAULTS[fault](last)
    with pytest.raises(ValueError, match=re.escape({"shape": str(tuple(wrong.shape))}.get(fault, "contiguous"))):
        function(**arguments | {name: [*levels, wrong]})


@pytest.mark.parametrize(("function", "name"), COPIED)
def test_some_tensors_may_have_gaps(function, name):
    arguments = CALLS[function]
    found, expected = function(**arguments | {name: gapped(arguments[name])}), function(**arguments)
    if isinstance(found, pointgroup_ops.Clustering):
        found, expected = found.class_mapping, expected.class_mapping
    if isinstance(found, sparseops.PackedWeight):
        found, expected = found.data, expected.data
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def public(library):
    """The functions of a library, and its classes that are not mere containers, with their methods."""
    for member in (getattr(library, name) for name in library.__all__):
        if inspect.isfunction(member):
            yield member
        elif inspect.isclass(member) and not (is_dataclass(member) or issubclass(member, tuple)):
            yield member
            yield from (method for name, method in inspect.getmembers(member, inspect.isfunction) if name[0] != "_")


def test_no_public_function_is_forgotten():
    for library in (pointops, _C, pointgroup_ops, pointgroup_ops_cuda, sparseops):
        assert set(public(library)) <= CALLS.keys()


def shapes(result) -> list:
    """Shapes and dtypes of all tensors in a result."""
    if isinstance(result, torch.Tensor):
        return [(tuple(result.shape), result.dtype)]
    if isinstance(result, sparseops.KernelMap):
        return shapes((result.forwards, result.backwards))
    if isinstance(result, sparseops.PackedWeight):
        return [result.out_channels, result.num_offsets, result.in_channels]
    return [shape for part in result for shape in shapes(part)] if isinstance(result, tuple) else [result]


def without_values(argument):
    return argument.to("meta") if isinstance(argument, torch.Tensor | sparseops.KernelMap) else argument


@pytest.mark.skipif(not sparseops.ARCHITECTURES, reason="the operators are not compiled")
@pytest.mark.parametrize("function", [each for each in OPERATORS if OPERATORS[each].library == "sparseops"])
def test_meta_tensors_give_shapes_or_are_refused(function):
    arguments = CALLS[function]
    if function is sparseops.serialize:
        arguments = arguments | {"depth": 3, "num_clouds": 2}
    found = {name: without_values(argument) for name, argument in arguments.items()}
    if OPERATORS[function].sized_by_values:
        with pytest.raises(ValueError, match="got a meta tensor"):
            function(**found)
    else:
        assert shapes(function(**found)) == shapes(function(**arguments))
