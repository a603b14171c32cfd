import pytest

from app.zoo.classes import NAMES, describe, names_of, palette

COUNTS = {
    "ScanNetDataset": 20,
    "S3DISDataset": 13,
    "Structured3DDataset": 25,
    "Matterport3DDataset": 21,
    "NuScenesDataset": 16,
    "NuScenesColorNormalDataset": 16,
    "SemanticKITTIDataset": 19,
    "WaymoDataset": 22,
}


@pytest.mark.parametrize(("dataset", "num_classes"), COUNTS.items())
def test_known_datasets_have_names_and_distinct_colors(dataset, num_classes):
    names = names_of(dataset, num_classes)
    classes = describe(dataset, names)
    assert len(set(names)) == num_classes
    assert len({info.color for info in classes}) == num_classes
    assert [info.id for info in classes] == list(range(num_classes))
    assert not any(name.startswith("class ") for name in names)


def test_datasets_are_known_by_their_names_too():
    names = NAMES["SemanticKITTI"].split(", ")
    assert describe(None, names) == describe("SemanticKITTIDataset", names)
    assert describe("DefaultDataset", names) == describe("SemanticKITTIDataset", names)


@pytest.mark.parametrize("dataset", [None, "DefaultDataset", "ScanNet200Dataset", "ScanNetDataset"])
def test_unknown_names_are_numbered(dataset):
    assert names_of(dataset, 3) == ["class 0", "class 1", "class 2"]


def test_asprs_codes_stand_only_where_classes_mean_the_same():
    codes = {info.name: info.asprs for info in describe("SemanticKITTIDataset", names_of("SemanticKITTIDataset", 19))}
    assert {name: code for name, code in codes.items() if code is not None} == {"terrain": 2, "building": 6, "road": 11}
    assert {info.asprs for info in describe("ScanNetDataset", names_of("ScanNetDataset", 20))} == {None}


def test_names_that_a_dataset_lacks_get_colors_of_their_own():
    classes = describe("ScanNet200Dataset", ["wall", "toaster", "Shower Curtain", *(f"thing {i}" for i in range(197))])
    assert classes[0].color == (174, 199, 232)
    assert classes[2].color == (158, 218, 229)
    assert len({info.color for info in classes}) == 200


def test_the_palette_is_distinct_and_stable():
    assert len(set(palette(500))) == 500
    assert palette(30) == palette(500)[:30]
    assert palette(0) == []
    assert all(0 <= channel <= 255 for color in palette(500) for channel in color)
