import pytest
import torch

from tests.pipeline.pipeline_samples import make_network, make_procedure


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def network():
    """SpUNet with six inputs and six classes."""
    return make_network()


@pytest.fixture
def procedure():
    """Color and normal on voxels of half a metre."""
    return make_procedure()
