"""Instances of a cloud by pointgroup_ops.Clustering."""

import numpy as np
import pointgroup_ops
import pytest
import torch


def box(center, num_points, rng):
    return center + rng.uniform(-0.1, 0.1, (num_points, 3))


def test_instances_of_a_cloud():
    rng = np.random.default_rng(0)
    # two things of one class, one of another that touches the second, one too small, and a class without instances
    groups = [(0, 60, 1), (3, 80, 1), (3.15, 70, 2), (6, 20, 2), (9, 90, 0)]
    vertices = np.concatenate([box([x, 0, 0], number, rng) for x, number, _ in groups])
    labels = np.concatenate([np.full(number, label) for _, number, label in groups])
    group = np.concatenate([np.full(number, i) for i, (_, number, _) in enumerate(groups)])
    order = rng.permutation(len(labels))
    vertices, labels, group = vertices[order], labels[order], group[order]
    scores = torch.zeros(len(labels), 3).scatter_(1, torch.from_numpy(labels)[:, None], 0.5)
    scores[:, 1] += torch.linspace(0, 0.4, len(labels)) * (torch.from_numpy(labels) == 1)

    clustering = pointgroup_ops.Clustering(
        ignored_labels=[4], class_mapping=torch.tensor([4, 30, 31]), thresh=0.15, min_points=15, propose_points=59
    )
    instances = clustering.get_instances(torch.from_numpy(vertices), scores)
    found = {tuple(np.unique(group[entry["pred_mask"] == 1])): entry for entry in instances.values()}
    assert sorted(instances) == [0, 1, 2]
    assert set(found) == {(0,), (1,), (2,)}
    assert [int(found[i,]["label_id"]) for i in range(3)] == [30, 30, 31]
    for i in range(3):
        mask = found[i,]["pred_mask"]
        assert mask.dtype == np.int32
        assert mask.sum() == groups[i][1]
        assert found[i,]["conf"] == scores[group == i, groups[i][2]].max().numpy()


def test_a_cloud_without_instances():
    clustering = pointgroup_ops.Clustering(ignored_labels=[7], class_mapping=torch.tensor([7]))
    vertices, labels = torch.rand(5, 3), torch.zeros(5).long()
    assert clustering.get_instances(vertices, torch.ones(5, 1)) == {}
    rows, offsets = clustering.cluster_(vertices, labels)
    assert (rows.shape, offsets.tolist()) == ((0, 2), [0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vertices": torch.rand(4, 2)}, r"vertices .*\(N, 3\), got torch.float32 \(4, 2\)"),
        ({"vertices": torch.rand(5, 3)}, r"scores .*\(5, C\), got torch.float32 \(4, 3\)"),
        ({"scores": torch.rand(5, 3)}, r"scores .*\(4, C\), got torch.float32 \(5, 3\)"),
        ({"scores": torch.rand(4, 0)}, r"each of the 3 classes of class_mapping, got \(4, 0\)"),
        ({"scores": torch.rand(4, 4)}, r"each of the 3 classes of class_mapping, got \(4, 4\)"),
        ({"scores": torch.ones(4, 3).int()}, "scores .*got torch.int32"),
    ],
)
def test_clouds_without_their_scores_are_told(changes, message):
    clustering = pointgroup_ops.Clustering(ignored_labels=[4], class_mapping=torch.tensor([4, 30, 31]))
    with pytest.raises(ValueError, match=message):
        clustering.get_instances(**{"vertices": torch.rand(4, 3), "scores": torch.rand(4, 3)} | changes)


def test_labels_without_a_class_are_told():
    clustering = pointgroup_ops.Clustering(ignored_labels=[4], class_mapping=torch.tensor([4, 30, 31]))
    with pytest.raises(ValueError, match="3 classes of class_mapping, 0 … 2, got 1 … 3"):
        clustering.cluster_(torch.rand(2, 3), torch.tensor([3, 1]))
    with pytest.raises(ValueError, match=r"class_mapping .*got list"):
        pointgroup_ops.Clustering(ignored_labels=[4], class_mapping=[4, 30])
