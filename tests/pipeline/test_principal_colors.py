"""Principal colors on the device's tensors, as those of numpy."""

import numpy as np
import pytest
import torch

from app.clouds import principal as formula
from app.pipeline import principal


@pytest.mark.parametrize("shape", [(500, 1), (500, 2), (500, 3), (3000, 40), (1, 5), (0, 5), (7, 0)])
@pytest.mark.parametrize("sampled", [formula.SAMPLED_VALUES, 1000])
def test_they_are_those_of_the_formula(monkeypatch, shape, sampled):
    for module in (formula, principal):
        monkeypatch.setattr(module, "SAMPLED_VALUES", sampled)
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32) * np.arange(
        1, shape[1] + 1, dtype=np.float32
    )
    found = principal.principal_colors(torch.from_numpy(values))
    assert found.dtype == torch.uint8
    np.testing.assert_allclose(found, formula.principal_colors(values).astype(int), rtol=0, atol=1)
    assert len(found) < 2 or shape[1] == 0 or np.ptp(found.numpy(), axis=0).max() == 255


def test_equal_features_have_one_color():
    assert not principal.principal_colors(torch.full((9, 4), 0.1)).any()
