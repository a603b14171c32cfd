import torch

from app.zoo.check import check


def verdicts(report) -> dict[str, bool]:
    return {finding.check: finding.ok for finding in report.findings}


def replace(folder, old, new) -> None:
    config = folder / "config.py"
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))


def test_a_folder_that_can_be_served(golden):
    report = check(golden)
    assert report.served
    assert report.reason == ""
    assert report.name == golden.name
    details = {finding.check: finding.detail for finding in report.findings}
    assert list(details) == ["config", "classes", "features", "procedure", "weights", "not imported", "network"]
    assert "20: wall, floor" in details["classes"]
    assert "color, normal" in details["features"]
    assert "200 tensors" in details["weights"]
    assert "SpUNet-v1m1" in details["network"]


def test_a_type_that_is_not_served_is_found_last(folder):
    replace(folder, "'SpUNet-v1m1'", "'PT-v9'")
    report = check(folder)
    assert not report.served
    assert "PT-v9" in report.reason
    assert verdicts(report)["weights"]
    assert not verdicts(report)["network"]


def test_a_transform_that_is_not_served_is_found(folder):
    replace(
        folder,
        "dict(type='NormalizeColor')\n        ],\n        test_mode=True",
        "dict(type='Bleach')], test_mode=True",
    )
    report = check(folder)
    assert "Bleach" in report.reason


def test_a_bad_config_ends_the_check(folder):
    (folder / "config.py").write_text("import os")
    report = check(folder)
    assert verdicts(report) == {"config": False}
    assert "import" in report.reason


def test_bad_weights_end_the_check(folder):
    torch.save({"state_dict": {"a": torch.tensor(float("nan"))}}, folder / "model" / "model_best.pth")
    report = check(folder)
    assert "NaN" in report.reason
    assert "network" not in verdicts(report)


def test_a_folder_that_is_not_there(tmp_path):
    assert not check(tmp_path / "absent").served
