"""Finds the dict in a checkpoint that holds the weights of the network."""

import re
from collections.abc import Mapping
from typing import Any

from app.errors import BadModel
from app.pickles.ndarray import Array
from app.pickles.tensor import TensorRef
from app.pickles.unpickle import Stub
from app.pickles.weights import WEIGHTS

AVERAGED = re.compile(r"(^|_)(ema|averaged?|avg|swa|teacher|shadow)(_|$)")  # how averages over steps are called
INNER = ("state_dict", "model_state_dict", "module", "model", "shadow")  # in what an averager saves of itself
EXTRA_STATE = "_extra_state"  # ends the names of what modules save beside their weights
ACCEPTED = "accepted is {'state_dict': {name: tensor}} or {name: tensor}"
SHOWN = 8

State = dict[str, TensorRef]


def find(value: Any) -> tuple[State, list[str]]:
    """The weights by name in ``value``, what a file of torch.save holds, and remarks on what else could be meant.

    Where weights and averages of them stand side by side, it is the weights, as Pointcept's tester has it. Raises
    BadModel if there are none, or several.
    """
    if not isinstance(value, dict):
        raise BadModel(f"{_told(value)}; {ACCEPTED}")
    if isinstance(value.get("coord"), TensorRef | Array):
        raise BadModel(
            f"this is a point cloud as Pointcept stores it ({_keys(value)}), not the weights of a network: segment it "
            "with POST /predict or `pointserve predict`"
        )
    found = {key: state for key, item in value.items() if isinstance(key, str) and (state := _weights(item))}
    averaged = [key for key in found if AVERAGED.search(key)]
    others = [key for key in found if key not in averaged]
    key = next((name for name in WEIGHTS if name in found), others[0] if len(others) == 1 else None)
    remarks: list[str] = []
    if "state_dict" in value and key != "state_dict":
        return _checked(value["state_dict"]), remarks  # says what is wrong with it
    if key is None and any(isinstance(item, TensorRef) for item in value.values()):
        return _checked(value), remarks
    if key is None:
        if len(averaged) != 1:
            raise BadModel(f"{_told(value)}; {ACCEPTED}")
        key = averaged.pop()
        remarks.append(f"The weights served are averages over training steps: the file has them alone, as {key}.")
    elif averaged:
        remarks.append(
            f"The file holds averages over training steps too ({', '.join(averaged)}), which are left out: the weights "
            f"served are those of {key}. For the averages save a file of them alone, as state_dict."
        )
    return _checked(found[key]), remarks


def _weights(item: Any) -> Mapping[Any, Any] | None:
    """``item``, or a dict in it, that holds weights by name."""
    if not isinstance(item, dict):
        return None
    if any(isinstance(each, TensorRef) and isinstance(name, str) for name, each in item.items()):
        return item
    inner = (item.get(name) for name in INNER)
    return next((each for each in inner if isinstance(each, dict) and _weights(each) is each), None)


def _checked(state: Any) -> State:
    if not isinstance(state, dict) or not state:
        raise BadModel(f"state_dict is empty or not a dict; {ACCEPTED}")
    for name, item in state.items():
        if not isinstance(name, str):
            raise BadModel(f"a weight's name is a {type(name).__name__}; names must be strings")
        if not isinstance(item, TensorRef) and not name.endswith(EXTRA_STATE):
            raise BadModel(f"{name:.200} is not a dense tensor of a known type; {ACCEPTED}")
    return {name: item for name, item in state.items() if isinstance(item, TensorRef)}


def _told(value: Any) -> str:
    """What a file holds that holds no weights by name."""
    networks = [item for item in (value.values() if isinstance(value, dict) else [value]) if isinstance(item, Stub)]
    made = next((stub.name.removesuffix("()") for stub in networks if stub.name.endswith("()")), None)
    if made:
        return (
            f"the file holds an object of {made:.100}, which only its own code can read; if that is a network, save "
            "torch.save({'state_dict': network.state_dict()}, path)"
        )
    if isinstance(value, TensorRef | Array):
        return "the file holds one array, not weights by name"
    if isinstance(value, dict):
        return f"there is no state_dict among {_keys(value)}" if value else "the file holds an empty dict"
    return f"the file holds a {type(value).__name__}, not a dict"


def _keys(value: Mapping[Any, Any]) -> str:
    return ", ".join(key[:40] for key in list(value)[:SHOWN] if isinstance(key, str))
