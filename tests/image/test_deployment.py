"""Compose, Kubernetes and monitoring against the service: paths, ports, names, metrics and times that must agree."""

import json
import re
from pathlib import Path

import pytest
import yaml

from app import create_app
from app.engine.service import Service
from app.http.measures import Measures
from app.settings import Settings

ROOT = Path(__file__).parents[2]
BASE = ROOT / "deploy" / "kubernetes" / "base"
MONITORING = ROOT / "deploy" / "monitoring"
STOP_S = 45  # for requests under way, connections and engines


def read(path):
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="module")
def compose():
    return read(ROOT / "docker-compose.ml.yml")


@pytest.fixture(scope="module")
def paths():
    return {rule.rule for rule in create_app(Settings()).url_map.iter_rules()}


@pytest.fixture(scope="module")
def metrics():
    families = Measures(Service(Settings())).registry.collect()
    suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    return {family.name + suffix for family in families for suffix in suffixes[family.type]}


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(s|m)", text).groups()
    return int(number) * {"s": 1, "m": 60}[unit]


def test_service_with_a_gpu(compose):
    service = compose["services"]["ml_service"]
    assert service["image"] == "ml-service:conda-cuda124"
    assert "profiles" not in service
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    arguments = service["build"]["args"]
    assert arguments["TORCH_CUDA_ARCH_LIST"] == "${TORCH_CUDA_ARCH_LIST:-7.5;8.0;8.6;8.9;9.0}"
    assert (ROOT / service["build"]["dockerfile"]).exists()


def test_both_services_are_confined_and_stop_in_time(compose, paths):
    for name in ("ml_service", "ml_service_cpu"):
        service = compose["services"][name]
        assert service["ports"][0].endswith(":5001")
        assert service["ports"][0].startswith("${ML_SERVICE_ADDRESS:-127.0.0.1}")
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert seconds(service["stop_grace_period"]) > STOP_S
        assert service["restart"] == "unless-stopped"
        assert service["shm_size"] == "1gb"
        assert any(volume.endswith(":/models:ro") for volume in service["volumes"])
        assert {"spool:/spool", "jobs:/jobs"} <= {*service["volumes"]}
        assert re.search(r":5001(/[\w/]+)", service["healthcheck"]["test"][-1])[1] in paths


def test_profiles(compose):
    profiles = {name: service.get("profiles") for name, service in compose["services"].items()}
    assert profiles == {
        "ml_service": None,
        "ml_service_cpu": ["cpu"],
        "prometheus": ["monitoring"],
        "grafana": ["monitoring"],
    }
    for service in compose["services"].values():
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or source == "${MODELS_FOLDER" or (ROOT / source).exists(), volume


def test_prometheus_reads_the_service_and_the_rules_know_its_metrics(compose, metrics):
    (job,) = read(MONITORING / "prometheus.yml")["scrape_configs"]
    host, _, port = job["static_configs"][0]["targets"][0].partition(":")
    assert host in compose["services"]["ml_service"]["networks"]["default"]["aliases"]
    assert port == "5001"
    expressions = [rule["expr"] for rule in read(MONITORING / "alerts.yml")["groups"][0]["rules"]]
    dashboard = json.loads((MONITORING / "grafana" / "dashboards" / "pointserve.json").read_text())
    expressions += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    used = {name for expression in expressions for name in re.findall(r"pointserve_\w+", expression)}
    assert used
    assert used <= metrics, used - metrics
    source = read(MONITORING / "grafana/provisioning/datasources/prometheus.yml")["datasources"][0]["uid"]
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {source}


def test_every_manifest_belongs_to_a_kustomization_and_carries_its_name():
    assert set(read(BASE / "kustomization.yaml")["resources"]) == {
        path.name for path in BASE.glob("*.yaml") if path.name != "kustomization.yaml"
    }
    for overlay in ("gpu", "cpu"):
        folder = BASE.parent / overlay
        kustomization = read(folder / "kustomization.yaml")
        (patch,) = kustomization["patches"]
        target = read(folder / patch["path"])
        deployment = read(BASE / "deployment.yaml")
        assert [target[key] for key in ("kind", "apiVersion")] == [deployment[key] for key in ("kind", "apiVersion")]
        assert target["metadata"]["name"] == deployment["metadata"]["name"]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert target["spec"]["template"]["spec"]["containers"][0]["name"] == container["name"]
        assert kustomization["images"][0]["name"] == container["image"]
    gpu = read(BASE.parent / "gpu" / "device.yaml")["spec"]["template"]["spec"]["containers"][0]
    assert gpu["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_components_change_the_deployment_and_hold_what_they_name():
    for name in ("models", "keys"):
        folder = BASE.parent / name
        kustomization = read(folder / "kustomization.yaml")
        assert kustomization["kind"] == "Component"
        (patch,) = kustomization["patches"]
        assert read(folder / patch["path"])["metadata"]["name"] == read(BASE / "deployment.yaml")["metadata"]["name"]
    claim = read(BASE.parent / "models/claim.yaml")["metadata"]["name"]
    pod = read(BASE.parent / "models/volume.yaml")["spec"]["template"]["spec"]
    filler = read(BASE.parent / "models/filler.yaml")["spec"]
    for spec in (pod, filler):
        assert spec["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim
    assert pod["containers"][0]["env"][0]["value"] == pod["containers"][0]["volumeMounts"][0]["mountPath"]
    assert filler["securityContext"]["runAsUser"] == 10001
    document = (ROOT / "docs/image.md").read_text()
    source = read(BASE.parent / "keys/secret.yaml")["spec"]["template"]["spec"]["containers"][0]["env"][0]["valueFrom"]
    secret = source["secretKeyRef"]
    assert f"create secret generic {secret['name']} --from-literal={secret['key']}=" in document


def test_jobs_are_one_pod_with_a_volume_that_holds_what_they_may_take():
    folder = BASE.parent / "jobs"
    kustomization = read(folder / "kustomization.yaml")
    assert kustomization["kind"] == "Component"
    patched, deleted = (read(folder / patch["path"]) for patch in kustomization["patches"])
    scaler = read(BASE / "autoscaler.yaml")
    assert deleted == {"$patch": "delete"} | {key: scaler[key] for key in ("apiVersion", "kind", "metadata")}
    assert patched["metadata"]["name"] == read(BASE / "deployment.yaml")["metadata"]["name"]
    assert (patched["spec"]["replicas"], patched["spec"]["strategy"]["type"]) == (1, "Recreate")
    pod, claim = patched["spec"]["template"]["spec"], read(folder / "claim.yaml")
    (container,) = pod["containers"]
    variable = {"name": "POINTSERVE_JOBS_DIR", "value": container["volumeMounts"][0]["mountPath"]}
    assert container["env"] == [variable]
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    size_gib = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi"))
    assert size_gib << 10 > Settings().jobs_disk_mib


def test_every_setting_can_be_given_to_compose(compose):
    for name in ("ml_service", "ml_service_cpu"):
        service = compose["services"][name]
        (file,) = service["env_file"]
        path = ROOT / re.fullmatch(r"\$\{SETTINGS_FILE:-(.+)\}", file)[1]
        assert not {variable for variable in service["environment"] if variable.startswith("POINTSERVE_")}
    offered = re.findall(r"^#POINTSERVE_(\w+)=", path.read_text(), re.MULTILINE)
    of_the_image = {"host", "port", "models", "spool_dir"}
    assert {name.lower() for name in offered} == set(Settings.model_fields) - of_the_image


def test_pods_are_probed_where_the_service_answers_and_stop_in_time(paths):
    spec = read(BASE / "deployment.yaml")["spec"]
    pod, (container,) = spec["template"]["spec"], spec["template"]["spec"]["containers"]
    probes = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}
    assert probes == {"startup": "/health/live", "readiness": "/health/ready", "liveness": "/health/live"}
    assert set(probes.values()) <= paths
    wait_s = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert wait_s >= 2 * container["readinessProbe"]["periodSeconds"]  # out of the balancer before it stops to listen
    assert pod["terminationGracePeriodSeconds"] > wait_s + STOP_S
    assert not pod["enableServiceLinks"]  # else POINTSERVE_PORT is tcp://…
    assert container["securityContext"]["readOnlyRootFilesystem"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_selectors_find_the_pods():
    labels = read(BASE / "deployment.yaml")["spec"]["template"]["metadata"]["labels"]
    assert read(BASE / "deployment.yaml")["spec"]["selector"]["matchLabels"] == labels
    assert read(BASE / "service.yaml")["spec"]["selector"] == labels
    assert read(BASE / "disruption.yaml")["spec"]["selector"]["matchLabels"] == labels


def test_pods_are_counted_by_the_queue(metrics):
    scaler = read(BASE / "autoscaler.yaml")["spec"]
    assert scaler["scaleTargetRef"]["name"] == read(BASE / "deployment.yaml")["metadata"]["name"]
    named = {metric["pods"]["metric"]["name"] for metric in scaler["metrics"]}
    assert named == {"pointserve_queue_requests", "pointserve_queue_points"}
    assert named <= metrics
