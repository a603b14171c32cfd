"""PT-v3m1: that a cloud's answer depends on nothing but the cloud, that folding changes nothing, what is accepted."""

import pytest
import torch
from sparseops import submanifold_map

from app.errors import BadCloud, BadModel
from app.networks.fold import fold
from app.networks.ptv3.attention import SerializedAttention
from app.networks.ptv3.block import SerializedBlock
from app.networks.ptv3.geometry import Cut, SerializedLevel, clouds_of, make_patches, sorted_voxels
from app.networks.ptv3.norm import Prompt
from app.networks.registry import build
from app.networks.voxel_batch import VoxelBatch
from tests.networks.models.ptv3 import model
from tests.networks.network_samples import make_network, make_voxels, strangers

WITHOUT_FLASH = {"enable_flash": False}
WITH_RPE = {"enable_flash": False, "enable_rpe": True, "upcast_attention": True, "upcast_softmax": True}
CURVES = ("z", "hilbert")


@pytest.mark.parametrize("changes", [{}, WITHOUT_FLASH, WITH_RPE, {"pre_norm": False}], ids=str)
@torch.inference_mode()
def test_the_answer_is_the_same_bytes_alone_and_beside_strangers(changes):
    network = fold(make_network(model(**changes)))
    clouds = strangers()
    features = [torch.randn(len(cloud), 4) for cloud in clouds]
    together = network(torch.cat(features), network.plan(VoxelBatch(torch.cat(clouds)))).split([len(c) for c in clouds])
    for cloud, own, answer in zip(clouds, features, together, strict=True):
        alone = torch.cat([torch.zeros_like(cloud[:, :1]), cloud[:, 1:]], 1)
        assert torch.equal(network(own, network.plan(VoxelBatch(alone))), answer)


@torch.inference_mode()
def test_threads_change_nothing():
    network, cloud = fold(make_network(model())), make_voxels(1, 2000)
    features = torch.randn(len(cloud), 4)
    threads, answers = torch.get_num_threads(), []
    try:
        for num_threads in (1, 2, 3):
            torch.set_num_threads(num_threads)
            answers.append(network(features, network.plan(VoxelBatch(cloud))))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])


@torch.inference_mode()
def test_rows_may_come_in_any_order():
    network, cloud = fold(make_network(model())), make_voxels(1, 900)
    features, order = torch.randn(len(cloud), 4), torch.randperm(len(cloud))
    expected = network(features, network.plan(VoxelBatch(cloud)))
    assert torch.equal(network(features[order], network.plan(VoxelBatch(cloud[order]))), expected[order])


@torch.inference_mode()
def test_upstreams_batch_semantics_are_asked_for():
    network, clouds = make_network(model(**WITHOUT_FLASH)), strangers()
    coords, size = torch.cat(clouds), len(clouds[0])
    features = torch.randn(len(coords), 4)
    alone = network(features[:size], network.plan(VoxelBatch(clouds[0])))
    joint = network(features, network.plan(VoxelBatch(coords, joint=True)))[:size]
    assert not torch.allclose(joint, alone, atol=1e-2)


@pytest.mark.parametrize("changes", [{}, WITH_RPE, {"pre_norm": False}, {"legacy_blocks": True}], ids=str)
@torch.inference_mode()
def test_a_folded_network_says_the_same_and_leaves_the_given_one_as_it_is(changes):
    network, cloud = make_network(model(**changes)), make_voxels(1, 900)
    features, plan, names = torch.randn(len(cloud), 4), network.plan(VoxelBatch(cloud)), set(network.state_dict())
    expected = network(features, plan)
    torch.testing.assert_close(fold(network)(features, plan), expected, rtol=1e-4, atol=1e-4)
    assert set(network.state_dict()) == names
    assert torch.equal(network(features, plan), expected)


@torch.inference_mode()
def test_old_blocks_hand_on_the_mlp_without_its_shortcut():
    torch.manual_seed(0)
    batch = VoxelBatch(make_voxels(1, 200))
    rows, voxels, order = sorted_voxels(batch, clouds_of(batch), CURVES)
    level = SerializedLevel(voxels, submanifold_map(voxels.coords, 3), make_patches([Cut(voxels, order, 1, 48)])[0])
    blocks = [
        SerializedBlock(16, SerializedAttention(16, 2, 48), 4, torch.nn.LayerNorm, mlp_to_next=old) for old in (0, 1)
    ]
    blocks[1].load_state_dict(blocks[0].state_dict())
    x = torch.randn(len(rows), 16)
    (new, new_next), (old, old_next) = (block(x, x, level, Prompt()) for block in blocks)
    assert torch.equal(new, new_next)
    torch.testing.assert_close(old, new)
    assert not torch.allclose(old_next, old, atol=1e-2)
    attended = x + blocks[0].cpe(x, level, Prompt())
    attended = attended + blocks[0].attn(blocks[0].norm1(attended, Prompt()), level.patches)
    torch.testing.assert_close(old_next + attended, old)


@torch.inference_mode()
def test_shuffled_orders_are_followed():
    network, cloud = make_network(model()), make_voxels(1, 900)
    features, kept = torch.randn(len(cloud), 4), torch.arange(4).expand(3, 4)
    plain, same, other = (
        network(features, network.plan(VoxelBatch(cloud, shuffles=shuffles))) for shuffles in (None, kept, kept.flip(1))
    )
    assert torch.equal(plain, same)
    assert not torch.allclose(plain, other, atol=1e-2)


def test_a_cloud_too_wide_to_be_ordered_is_refused():
    network = build(model())
    voxels = torch.tensor([[0, 0, 0, 0], [0, 0, 0, (1 << 16) - 2]])
    assert len(network.plan(VoxelBatch(voxels)).rows) == 2
    with pytest.raises(BadCloud, match="65535 voxels"):
        network.plan(VoxelBatch(voxels + torch.tensor([0, 0, 0, 1])))


@pytest.mark.parametrize("key", ["enc_mode", "cls_mode"])
@torch.inference_mode()
def test_without_a_decoder_the_stages_stand_side_by_side(key):
    network = build({**model(**{key: True}), "backbone_out_channels": 64})
    cloud = make_voxels(1, 300)
    backbone, features = network.backbone, torch.randn(len(cloud), 4)
    plan = network.plan(VoxelBatch(cloud))
    assert backbone(features, plan).shape == (len(cloud), backbone.out_channels)
    finest = backbone.encode(features, plan, Prompt())[0]
    torch.testing.assert_close(backbone(features, plan)[plan.rows, :16], finest)
    assert network(features, plan).shape == (len(cloud), 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 3}, "model.backbone: unknown key depth; PointTransformerV3 accepts in_channels"),
        ({"stride": (2,)}, "stride must have 2 values"),
        ({"enc_channels": (16, 16)}, "enc_channels must have 3 values for these stages, got 2"),
        ({"stride": (2, 3)}, "stride must be powers of 2"),
        ({"order": ("z", "peano")}, "order must be names out of z, z-trans, hilbert, hilbert-trans"),
        ({"enable_rpe": True}, "enable_rpe=True and enable_flash=True exclude each other"),
        ({"dec_patch_size": (48, 64)}, "enc_patch_size and dec_patch_size must agree"),
        ({"pdnorm_bn": True, "pdnorm_decouple": False}, "pdnorm_decouple=False is not served"),
        ({"enc_num_head": (3, 2, 4)}, "channels must be a multiple of the number of heads, got 16 and 3"),
        ({"dec_channels": (24, 16)}, "backbone_out_channels is 16, but the backbone gives 24"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_built_is_refused_by_key(changes, message):
    with pytest.raises(BadModel) as caught:
        build(model(**changes))
    assert message in caught.value.detail
