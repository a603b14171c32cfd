"""The problems that the entries of a report show, each with a remedy."""

from collections.abc import Collection

from . import faults
from .attempt import Entry

FORWARD = (
    "Look at the problems of torch and the operators first; else install pointserve again. "
    "POINTSERVE_DEVICE=cpu serves on the processor."
)


def problems(facts: Entry, optional: Collection[str], wanted: str = "auto") -> list[Entry]:
    """Every entry of ``facts`` that has a remedy and is either broken or needed.

    Libraries named in ``optional`` may be absent. A GPU is needed if ``wanted``, the setting of the device, names one.
    """
    found: list[Entry] = []

    def look(part: str, entry: Entry, required: bool) -> None:
        if "remedy" in entry and (required or entry.get("state") != "absent"):
            problem = entry.get("reason") or "is not installed"
            remedy = {"remedy": entry["remedy"], "fault": entry.get("fault")}
            found.append({"part": part, "problem": problem, **remedy, "required": required})

    elsewhere = facts["environment"]["state"] == "broken"
    needs_gpu = "cuda" in wanted and not facts["devices"]
    look("environment", facts["environment"], False)
    look("torch", facts["torch"], facts["torch"]["state"] != "ok" or needs_gpu)
    look("driver", facts["driver"], needs_gpu)
    for device in facts["devices"]:
        look(f"cuda:{device['index']}", device, True)
    for library in facts["libraries"]:
        if elsewhere and library["state"] == "absent":
            library = library | {"fault": faults.ENVIRONMENT.name, "remedy": faults.ENVIRONMENT.remedy}
        look(library["name"], library, library["name"] not in optional)
    for entry in facts["operators"]:
        look(entry["name"], entry, entry["state"] != "reference")
    for entry in facts["stack"]:
        look(entry["name"], entry, False)
    known = {entry["name"] for entry in facts["operators"] if entry["state"] == "broken"}
    for entry in facts.get("timings", ()):
        if entry["name"] not in known:
            look(f"timings of {entry['name']}", entry, True)
    for entry in facts.get("forward", ()):
        if not entry["ok"]:
            look(f"forward pass on {entry['device']}", entry | {"remedy": FORWARD}, True)
    return found
