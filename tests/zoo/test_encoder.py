"""Pretrained encoders in a file of their own, and the heads beside them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from app.clouds.cloud import Cloud
from app.engine.model_set import ModelSet, cloud_of
from app.errors import BadModel
from app.options import Options
from app.pipeline.segmenter import Segmenter
from app.settings import ModelSettings
from app.zoo import experiment, loading
from app.zoo.check import check
from tests.encoder_samples import write_encoder, write_head


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def room(num_points: int = 2000) -> Cloud:
    return cloud_of(num_points, 3.0)


def segmenter(path: Path) -> Segmenter:
    loaded = loading.load_model(path)
    return Segmenter(loaded.network, loaded.experiment.procedure)


def test_an_encoder_alone_gives_features_of_every_stage(tmp_path):
    network = write_encoder(tmp_path / "sonata.pth")
    found = experiment.load(tmp_path / "sonata.pth")
    assert (found.name, found.task, found.grid_size_m, found.classes) == ("sonata.pth", "features", 0.02, [])
    assert found.feat_keys == ("coord", "color", "normal")
    assert found.card()["backbone"] == "PT-v3m2"
    loaded = loading.load_model(tmp_path / "sonata.pth").network
    for name, weight in network.state_dict().items():
        assert torch.equal(loaded.backbone.state_dict()[name], weight)
    answer = segmenter(tmp_path / "sonata.pth").segment(room(), Options(fields=("features", "features_rgb")))
    assert answer.fields["features"].shape == (2000, 72)
    assert answer.fields["features_rgb"].any()
    assert answer.meta.classes == []


def test_a_head_beside_it_makes_labels_of_them(tmp_path):
    write_encoder(tmp_path / "sonata.pth")
    head = write_head(tmp_path / "sonata_linear_prob_head_sc.pth")
    probe = segmenter(tmp_path / "sonata_linear_prob_head_sc.pth")
    assert [info.name for info in probe.procedure.classes][:3] == ["wall", "floor", "cabinet"]
    answer = probe.segment(room(), Options(fields=("features",)))
    logits = head(torch.from_numpy(answer.fields["features"])).detach().numpy()
    assert (logits.argmax(1) == answer.labels).mean() > 0.999
    encoder = segmenter(tmp_path / "sonata.pth").segment(room(), Options(fields=("features",)))
    np.testing.assert_array_equal(encoder.fields["features"], answer.fields["features"])


def test_rotary_embeddings_among_the_weights_make_it_a_utonia(tmp_path):
    write_encoder(tmp_path / "utonia.pth", "PT-v3m3")
    loaded = loading.load_model(tmp_path / "utonia.pth")
    assert loaded.card()["backbone"] == "PT-v3m3"
    assert loaded.experiment.grid_size_m == 0.01
    assert {"type": "RandomScale", "scale": [0.5, 0.5]} in loaded.experiment.procedure.transform
    answer = segmenter(tmp_path / "utonia.pth").segment(room(), Options(fields=("features",)))
    assert answer.fields["features"].shape == (2000, 72)
    assert any("halved" in warning for warning in answer.meta.warnings)


def test_files_are_found_checked_and_loaded_like_folders(tmp_path, folder):
    write_encoder(tmp_path / "sonata.pth")
    write_head(tmp_path / "sonata_linear_prob_head_xy.pth", num_classes=3)
    files = [tmp_path / "sonata.pth", tmp_path / "sonata_linear_prob_head_xy.pth"]
    assert experiment.find(":".join(map(str, [folder, *files, files[0]]))) == [folder, *files]
    for path in files:
        report = check(path)
        assert report.served, report.reason
        assert report.name == path.name
    models = ModelSet(ModelSettings(models=":".join(map(str, files))), "cpu")
    models.load_all()
    assert [(card.name, card.served, card.num_classes) for card in models.cards] == [
        ("sonata.pth", True, 0),
        ("sonata_linear_prob_head_xy.pth", True, 3),
    ]
    assert [known["name"] for known in models.cards[1].classes] == ["class 0", "class 1", "class 2"]
    models.load("sonata.pth")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_channels": 6}, "in_channels is 6, but feat_keys coord, color, normal are 9 channels"),
        ({"depth": 3}, "unknown key depth"),
        ({"enc_channels": (12, 24, 48)}, "of another shape"),
        ({"enc_channels": np.float64(1)}, "no config of plain values"),
        ({"enc_channels": 12}, "model.backbone: "),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_configs_that_do_not_fit_are_refused(tmp_path, changes, message):
    write_encoder(tmp_path / "sonata.pth", changes=changes)
    with pytest.raises(BadModel) as caught:
        loading.load_model(tmp_path / "sonata.pth")
    assert message in caught.value.detail


def test_other_files_are_refused_by_name(tmp_path):
    torch.save({"state_dict": {"weight": torch.zeros(3)}}, tmp_path / "bare.pth")
    write_head(tmp_path / "lost_linear_prob_head_sc.pth")
    write_encoder(tmp_path / "sonata.pth")
    write_head(tmp_path / "sonata_linear_prob_head_wide.pth", width=80)
    write_head(tmp_path / "sonata_linear_prob_head_odd.pth", depth=2)
    (tmp_path / "broken.pth").write_bytes((tmp_path / "sonata.pth").read_bytes()[:3000])
    for name, message in {
        "bare": "there is no config of plain values",
        "lost_linear_prob_head_sc": "lost.pth, which must lie beside it and does not",
        "sonata_linear_prob_head_wide": "backbone_out_channels is 80, but the backbone gives 72",
        "sonata_linear_prob_head_odd": "accepted is {backbone_out_channels, num_classes}",
        "broken": "broken.pth: ",
    }.items():
        with pytest.raises(BadModel) as caught:
            loading.load_model(tmp_path / f"{name}.pth")
        assert message in caught.value.detail
