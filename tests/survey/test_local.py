"""What of a service tiles may take."""

import pytest

from app.engine.parts import Parts
from app.engine.service import Service
from app.engine.web_processes import readers
from app.settings import Settings
from app.survey.local import LocalWorkers


@pytest.mark.parametrize("num_processes", [1, 3])
def test_tiles_of_jobs_are_decoded_by_half_of_all_readers(tmp_path, num_processes):
    settings = Settings(device="cpu", readers=8, jobs_dir=tmp_path)
    own = settings.model_copy(update={"readers": readers(settings, num_processes)[0]})
    service = Service(own, Parts.own(settings, num_processes))
    workers = LocalWorkers(service, own, is_background=True)
    assert workers.capacity.decodes == 4
    workers.stop()


def test_a_survey_alone_has_all_readers():
    settings = Settings(device="cpu", readers=8)
    workers = LocalWorkers(Service(settings), settings)
    assert workers.capacity.decodes == 8
    workers.stop()
