"""The figures of a model's card are those of its labels, by input and tile."""

import re
import sys

import card
import numpy as np
import pytest

from app.clouds.comparison import Comparison
from app.sample.tile import las_bytes, make_tile
from app.zoo.experiment import find
from app.zoo.loading import load_model


def test_card_has_the_figures_of_every_input_and_tile(tmp_path, monkeypatch, capsys):
    tiles = [make_tile("town", seed, 40.0, 3.0) for seed in (1, 2)]
    for seed, tile in enumerate(tiles):
        (tmp_path / f"{seed}.laz").write_bytes(las_bytes(tile))
    monkeypatch.setattr(sys, "argv", ["card.py", "--data", str(tmp_path)])
    card.main()
    printed = capsys.readouterr().out
    rows = {cells[1].strip(): cells[2:] for line in printed.splitlines() if len(cells := line.split("|")) > 3}
    assert {"as it is", "thinned to 1 point per m²", "without return numbers", "0", "1"} < {*rows}
    segmenter = load_model(find("")[0]).segmenter("cpu")
    comparison = Comparison.of_model(segmenter.procedure.classes)
    found = [comparison.confusion(tile.extra["classification"], segmenter.segment(tile).labels) for tile in tiles]
    for number, confusion in enumerate(found):
        assert float(rows[str(number)][1]) == round(confusion.iou[0], 3)
    assert re.fullmatch(r" 0\.\d{3} \(0\.\d{3}–[01]\.\d{3}\) ", rows["as it is"][0])


def test_thinned_clouds_have_about_a_point_per_square_metre():
    cloud = make_tile("town", 1, 40.0, 6.0)
    assert card.density_per_m2(cloud) == pytest.approx(len(cloud) / 1600, rel=0.03)
    thin = card.thinned(cloud)
    assert 0.8 < len(thin) / 1600 < 1.2
    assert "return_number" not in card.without_returns(cloud).extra
    assert np.isin(thin.xyz[:, 0], cloud.xyz[:, 0]).all()
