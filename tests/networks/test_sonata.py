"""PT-v3m2, PT-v3m3 and LitePT-v1: answers that depend on the cloud alone, folding, stages side by side, bad configs."""

import pytest
import torch

from app.errors import BadModel
from app.networks.fold import fold
from app.networks.ptv3.norm import Prompt
from app.networks.ptv3.rope import Rope
from app.networks.registry import build
from app.networks.voxel_batch import VoxelBatch
from tests.networks.models.sonata import LITE, SONATA, UTONIA, model
from tests.networks.network_samples import make_network, make_voxels, strangers

WITHOUT_FLASH = {"enable_flash": False}
KINDS = [
    SONATA,
    SONATA | WITHOUT_FLASH,
    SONATA | WITHOUT_FLASH | {"enable_rpe": True},
    UTONIA,
    UTONIA | {"dec_rope_enable": False},
    LITE,
    LITE | {"pre_norm": False},
]


@pytest.mark.parametrize("kind", [*KINDS, UTONIA | {"enc_mode": True}], ids=lambda kind: "-".join(map(str, kind)))
@torch.inference_mode()
def test_the_answer_is_the_same_bytes_alone_and_beside_strangers(kind):
    network, clouds = fold(make_network(model(kind))), strangers()
    features = [torch.randn(len(cloud), 4) for cloud in clouds]
    positions = [torch.randn(len(cloud), 3) for cloud in clouds]
    plan = network.plan(VoxelBatch(torch.cat(clouds), torch.cat(positions)))
    together = network(torch.cat(features), plan).split([len(cloud) for cloud in clouds])
    for cloud, coord, own, answer in zip(clouds, positions, features, together, strict=True):
        alone = torch.cat([torch.zeros_like(cloud[:, :1]), cloud[:, 1:]], 1)
        assert torch.equal(network(own, network.plan(VoxelBatch(alone, coord))), answer)


@pytest.mark.parametrize("kind", [SONATA, UTONIA, LITE], ids=lambda kind: kind["type"])
@torch.inference_mode()
def test_threads_change_nothing(kind):
    network, cloud = fold(make_network(model(kind))), make_voxels(1, 2000)
    features, coord = torch.randn(len(cloud), 4), torch.randn(len(cloud), 3)
    threads, answers = torch.get_num_threads(), []
    try:
        for num_threads in (1, 3):
            torch.set_num_threads(num_threads)
            answers.append(network(features, network.plan(VoxelBatch(cloud, coord))))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*answers)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind)))
@torch.inference_mode()
def test_a_folded_network_says_the_same(kind):
    network, cloud = make_network(model(kind)), make_voxels(1, 900)
    features, plan = torch.randn(len(cloud), 4), network.plan(VoxelBatch(cloud, torch.randn(len(cloud), 3)))
    torch.testing.assert_close(fold(network)(features, plan), network(features, plan), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [SONATA, UTONIA, LITE], ids=lambda kind: kind["type"])
@torch.inference_mode()
def test_a_linear_probe_reads_every_stage_the_finest_first(kind):
    network, cloud = make_network(model(kind, enc_mode=True)), make_voxels(1, 300)
    features = torch.randn(len(cloud), 4)
    plan = network.plan(VoxelBatch(cloud, torch.randn(len(cloud), 3)))
    stages, joined = network.backbone.encode(features, plan, Prompt()), network.backbone(features, plan)
    assert joined.shape == (len(cloud), 48)
    parents = plan.steps[0].parent
    torch.testing.assert_close(joined[plan.rows, :12], stages[0])
    torch.testing.assert_close(joined[plan.rows, 12:24], stages[1][parents])
    torch.testing.assert_close(joined[plan.rows, 24:], stages[2][plan.steps[1].parent[parents]])
    torch.testing.assert_close(network(features, plan), network.seg_head(joined))


@torch.inference_mode()
def test_only_rotary_embeddings_read_positions():
    cloud, features = make_voxels(1, 300), torch.randn(300, 4)[: len(make_voxels(1, 300))]
    coord = torch.randn(len(cloud), 3)
    for kind, reads in ((UTONIA, True), (UTONIA | {"rope_base": None}, False), (SONATA, False), (LITE, False)):
        network = make_network(model(kind))
        here, there = (network(features, network.plan(VoxelBatch(cloud, at))) for at in (coord, coord.flip(0)))
        assert torch.equal(here, there) is not reads
        assert network.plans_positions is reads


@torch.inference_mode()
def test_rotary_embeddings_leave_nothing_but_the_distance():
    rope, generator = Rope(12, 10, in_checkpoints=True), torch.Generator().manual_seed(0)
    qkv = torch.randn(2, 3, 1, 12, generator=generator)
    near, far = torch.tensor([[0.0, 0, 0], [1, 2, 3]]), torch.tensor([[5.0, 6, 7], [6, 8, 10]])
    products = []
    for positions in (near, far):
        turned = rope(qkv, positions)
        assert torch.equal(turned[:, 2], qkv[:, 2])
        products.append(turned[0, 0, 0] @ turned[1, 1, 0])
    torch.testing.assert_close(*products)
    assert not torch.isclose(products[0], qkv[0, 0, 0] @ qkv[1, 1, 0])


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (SONATA, {"rope_base": 10}, "unknown key rope_base; PointTransformerV3m2 accepts in_channels"),
        (UTONIA, {"depth": 3}, "unknown key depth; PointTransformerV3m3 accepts rope_base, dec_rope_enable"),
        (UTONIA, {"enc_num_head": (3, 3, 4)}, "rotary embeddings need heads of a multiple of 6 channels, got 4"),
        (SONATA, {"enable_rpe": True}, "enable_rpe=True and enable_flash=True exclude each other"),
        (LITE, {"enc_conv": (True, False)}, "enc_conv must have 3 values for these stages, got 2"),
        (LITE, {"dec_rope_freq": (1.0,)}, "dec_rope_freq must have 2 values for these stages, got 1"),
        (LITE, {"enable_flash": True}, "unknown key enable_flash; LitePT accepts in_channels"),
    ],
    ids=lambda value: "",
)
def test_what_cannot_be_built_is_refused_by_key(kind, changes, message):
    with pytest.raises(BadModel) as caught:
        build(model(kind, **changes))
    assert message in caught.value.detail


def test_an_encoder_is_not_asked_for_a_decoders_sizes():
    changes = {"enc_mode": True, "dec_depths": (1,), "dec_num_head": (7, 7, 7)}
    assert build(model(SONATA, **changes)).backbone.out_channels == 48
