"""Manifests of KubeRay against the service: image, shared folder, cluster and command that must agree."""

import shlex
from pathlib import Path

import pytest
import ray
import yaml
from typer.testing import CliRunner

from app.cli.commands import app

RAY = Path(__file__).parents[2] / "deploy" / "kubernetes" / "ray"
IMAGE = "ml-service:conda-cuda124"


@pytest.fixture(scope="module")
def cluster():
    return yaml.safe_load((RAY / "cluster.yaml").read_text())


@pytest.fixture(scope="module")
def job():
    return yaml.safe_load((RAY / "job.yaml").read_text())


def groups(cluster):
    return [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]


def test_all_pods_have_the_image_of_the_service_and_the_surveys(cluster):
    for group in groups(cluster):
        spec = group["template"]["spec"]
        (container,) = spec["containers"]
        assert container["image"] == IMAGE
        assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/surveys"]
        assert spec["volumes"][0]["persistentVolumeClaim"]["claimName"] == "surveys"
        limits = container["resources"]["limits"]
        assert limits == container["resources"]["requests"]
        assert limits.get("nvidia.com/gpu", "0") == group["rayStartParams"].get("num-gpus", "0")


def test_head_computes_nothing(cluster):
    assert cluster["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_cluster_has_the_version_of_ray_that_is_locked(cluster):
    assert cluster["spec"]["rayVersion"] == ray.__version__


def test_job_runs_on_the_cluster_and_batch_knows_its_options(cluster, job):
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    program, command, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert (program, command) == ("pointserve", "batch")
    text = CliRunner().invoke(app, ["batch", "--help"], env={"COLUMNS": "200"}).output
    assert all(argument in text for argument in arguments if argument.startswith("-"))
    assert all(argument.startswith("/surveys/") for argument in arguments if "/" in argument)
