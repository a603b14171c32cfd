"""Fields of an answer from predictions."""

import numpy as np
import torch

from app.clouds.fields import FIELDS, REFINED, made_from
from app.networks.instances import Instances
from app.pipeline.download import download
from app.pipeline.field_values import COMPUTED, of_points
from app.pipeline.predictions import Predictions
from app.pipeline.projection import Projection

# points 0 and 2 of three are usable
PROJECTION = Projection(torch.tensor([1, -1, 0]))
NOTHING = Projection.of_nothing(4)


def of_steps(num_points):
    """Fields that steps of refinement made."""
    return {name: torch.zeros(num_points) for name in made_from(REFINED, FIELDS)}


def test_every_field_is_made_in_its_type_and_shape_and_unusable_points_have_its_value_for_them():
    assert set(COMPUTED) == set(FIELDS) - {*made_from(REFINED, FIELDS)}
    instances = Instances(torch.tensor([0, -1]), torch.tensor([1]), torch.tensor([0.5]))
    probabilities = torch.tensor([[0.25, 0.75], [1, 0]])
    features = torch.arange(10.0).view(2, 5)
    predictions = Predictions(
        probabilities.argmax(1),
        probabilities,
        instances=instances,
        features=features,
        energy=torch.tensor([-2.0, -3.0]),
        votes=torch.tensor([[1, 3], [2, 2]], dtype=torch.uint8),
        passes=4,
    )
    found = download(of_points(predictions, PROJECTION, PROJECTION, tuple(FIELDS), of_steps(3)))
    for name, field in FIELDS.items():
        assert found[name].dtype == field.dtype, name
        assert found[name].shape == (3, *field.row_shape(2, 5)), name
        if field.source != REFINED:
            assert (found[name][1] == field.unusable).all(), name
    np.testing.assert_array_equal(found["energy"], [-3, 0, -2])
    np.testing.assert_array_equal(found["agreement"], [0.5, 0, 0.75])
    np.testing.assert_array_equal(found["instances"], [-1, -1, 0])
    np.testing.assert_array_equal(found["confidence"], np.array([1, 0, 0.75], np.float32))


def test_a_cloud_without_a_usable_point_has_the_fields_too():
    found = of_points(Predictions.of_nothing(2), NOTHING, NOTHING, tuple(FIELDS), of_steps(4))
    assert {name: len(values) for name, values in found.items()} == dict.fromkeys(FIELDS, 4)


def test_fields_have_one_order_whatever_that_of_the_request():
    found = of_points(Predictions.of_nothing(2), NOTHING, NOTHING, tuple(reversed(FIELDS)), of_steps(4))
    assert list(found) == list(FIELDS)
