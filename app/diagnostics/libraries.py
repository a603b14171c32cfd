"""Entries of the report for the libraries of operators: sparseops, pointops, pointgroup_ops."""

from . import faults, operators
from .attempt import Attempt, Entry


def entry(name: str, attempt: Attempt | None, hindrance: Entry) -> Entry:
    """State compiled, reference, absent (``attempt`` None) or broken, with reason, fault and remedy.

    ``hindrance`` says what would keep it from compiling, as ``building.hindrance`` does.
    """
    if attempt is None:
        remedy = f"In a checkout of pointserve, run {_install(name)}."
        return {"name": name, "state": "absent", "fault": faults.EXTENSION.name, "remedy": remedy}
    if attempt.reason:
        return {"name": name, "state": "broken", "reason": f"its check {attempt.reason}", "remedy": _again(name)}
    found: Entry = attempt.value
    wrong = [check for check in found["checks"] if not check["ok"]]
    if not wrong:
        return found | _slowness(found, hindrance)
    return found | {"state": "broken"} | _blame(name, wrong, f"It is compiled for {', '.join(found['architectures'])}")


def timed(name: str, attempt: Attempt) -> Entry:
    """The entry of a library whose operators were all run and timed."""
    if attempt.reason:
        remedy = _again(name)
        reason = f"timing its operators {attempt.reason}"
        return {"name": name, "state": "broken", "operators": [], "reason": reason, "remedy": remedy}
    wrong = [work for work in attempt.value if not work["ok"]]
    if not wrong:
        return {"name": name, "state": "ok", "operators": attempt.value}
    return {"name": name, "state": "broken", "operators": attempt.value} | _blame(
        name, wrong, "It has no code for the device"
    )


def miss(check: Entry) -> str:
    """What is wrong with a check that is not ok."""
    return check.get("reason") or f"off by {check['max_abs_error']:.3g}, allowed is {operators.TOLERANCE:g}"


def _slowness(found: Entry, hindrance: Entry) -> Entry:
    """State, reason, fault and remedy of operators that run their reference on a device; empty if none does."""
    on_gpu = any(check["device"] != "cpu" for check in found["checks"])
    if not found["architectures"]:
        fault = faults.recognise(found["unloaded"]) or faults.OTHER_TORCH
        built = fault is not faults.EXTENSION
        what = f"does not load ({found['unloaded']})" if built else "was not built"
    elif on_gpu and found["architectures"] == ["cpu"]:
        fault, built, what = faults.ARCHITECTURE, False, "was built for processors only"
    else:
        return {}
    install = f"in a checkout of pointserve, run {_install(found['name'])}."
    if hindrance and not built:
        what, remedy = f"{what}, and {hindrance['reason']}", f"{hindrance['remedy']} Then, {install}"
    else:
        remedy = f"{install[0].upper()}{install[1:]}"
    reason = f"slow: its compiled extension {what}, so the reference in plain torch runs instead"
    return {"state": "reference", "reason": reason, "fault": fault.name, "remedy": remedy}


def _blame(name: str, wrong: list[Entry], built: str) -> Entry:
    """Reason, remedy and perhaps the fault of checks that are not ok; ``built`` says for what the library is."""
    reason = "; ".join(f"{check['operator']} on {check['device']}: {miss(check)}" for check in wrong)
    if faults.recognise(reason) is not faults.ARCHITECTURE:
        return {"reason": reason, "remedy": _again(name)}
    remedy = (
        f"{built}: set TORCH_CUDA_ARCH_LIST to the compute capability of the device, such as 9.0; then, in a checkout "
        f"of pointserve, run {_install(name)}. The GPU image compiles for the device that is there with "
        "INSTALL_POINTOPS_AT_RUNTIME=1."
    )
    return {"reason": reason, "fault": faults.ARCHITECTURE.name, "remedy": remedy}


def _again(name: str) -> str:
    return f"Install {name} again, after torch: in a checkout of pointserve, run {_install(name)}."


def _install(name: str) -> str:
    return f"`pip install --no-build-isolation --no-deps --force-reinstall ./libs/{name}`"
