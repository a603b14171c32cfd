"""Reads pickles without importing or calling anything that they name.

Tensors come out as descriptions of where their bytes lie (``tensor.py``), numpy arrays as what the pickle says of them
(``ndarray.py``); an unknown global, and whatever a pickle would make with it, comes out as an inert ``Stub``. State
that a pickle would set on any other object is dropped.
"""

import io
import pickle
import struct
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from types import FunctionType
from typing import Any, ClassVar, NamedTuple

from . import ndarray
from .calls import MAX_CHARACTERS, dangerous
from .tensor import STORAGES, StorageRef, StorageType, TensorRef

MAX_PICKLE_BYTES = 8 << 20  # some 100 bytes a tensor, optimizer state included

# What torch.save writes under pickle protocols 2 to 5. Left out are the extension registry and the text opcodes of
# protocols 0 and 1.
PLAIN_OPCODES = """
    PROTO FRAME STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT
    BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST EMPTY_DICT
    BINGET LONG_BINGET BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL BINPERSID
"""


class Stub:
    """Stands for anything that is neither a tensor nor a plain value; ``name`` is the path of names that led to it."""

    __slots__ = ("name",)

    def __init__(self, name: str = ""):
        self.name = name


class UnreadableError(pickle.UnpicklingError):
    """Not a pickle of torch.save; the message says why in words for users."""


class Unpickled(NamedTuple):
    """``value`` of a pickle, the ``storages`` it refers to by key, and the ``ignored`` globals, as module.name.

    Among these are attributes of globals that it asks for by ``getattr``; names of Python 2 are those of today.
    """

    value: Any
    storages: dict[str, StorageRef]
    ignored: set[str]


def unpickle(stream: io.BytesIO) -> Unpickled:
    """The pickle that starts at the position of ``stream``, which is left behind its end.

    Raises UnreadableError for anything that is not such a pickle.
    """
    reader = _Unpickler(stream)
    try:
        value = reader.load()
    except Exception as error:  # hostile bytes reach every line of the interpreter below
        said = str(error) if isinstance(error, UnreadableError) else "the pickle is damaged or cut short"
        names = ", ".join(dangerous(reader.ignored)[:4])
        after = f", after it named {names}, which runs code; none was run" if names else ""
        raise UnreadableError(f"{said}, at byte {stream.tell()}{after}") from error
    return Unpickled(value, reader.storages, reader.ignored)


def _ordered_dict(*pairs: Any) -> Any:
    return Stub() if pairs else {}


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Any:
    return TensorRef(storage, offset, size, stride) if isinstance(storage, StorageRef) else Stub()


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _of_type(builder: Any, kind: Any, arguments: Any, *_: Any) -> Any:
    """A tensor that somebody gave an attribute, or of a class of its own: the tensor."""
    return builder(*arguments) if isinstance(builder, FunctionType) and builder is not _of_type else Stub()


BUILDERS = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._tensor", "_rebuild_from_type_v2"): _of_type,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    **ndarray.BUILDERS,
}


class _Dispatch(dict[int, Callable[..., None]]):
    """What each opcode does, by its byte."""

    def __missing__(self, opcode: int) -> Callable[..., None]:
        raise UnreadableError(f"the pickle's instruction {bytes([opcode])!r} is none that torch.save writes")


def _handler(opcode: str) -> Callable[..., None]:
    return pickle._Unpickler.dispatch[getattr(pickle, opcode)[0]]


class _Unpickler(pickle._Unpickler):
    """The interpreter written in Python: its memo is a dict and its reads end with the stream, whatever a file claims.

    Every opcode that would call, set an attribute or hash something nested is replaced.
    """

    def __init__(self, stream: io.BytesIO):
        super().__init__(stream)
        self.stack: list[Any] = []
        self.storages: dict[str, StorageRef] = {}
        self.ignored: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in STORAGES:
            return StorageType(STORAGES[name])
        if (module, name) in BUILDERS:
            return BUILDERS[module, name]
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        return self.stub(f"{module}.{name}")

    def stub(self, name: str) -> Stub:
        """What stands for a global, or an attribute of one, which is noted."""
        name = name[: MAX_CHARACTERS + 1]
        self.ignored.add(name)
        return Stub(name)

    def persistent_load(self, pid: Any) -> Any:
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
            return Stub()
        _, kind, key, _, numel, *view = pid
        if not isinstance(kind, StorageType) or view not in ([], [None]):
            return Stub()
        if not isinstance(key, str) or not isinstance(numel, int):
            raise UnreadableError("a storage without a key or a size")
        reference = StorageRef(key, kind.dtype, numel)
        if self.storages.setdefault(key, reference) != reference:
            raise UnreadableError(f"storage {key:.40} is claimed with two types or sizes")
        return reference

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        builder = self.stack[-1]
        self.stack[-1] = builder(*arguments) if isinstance(builder, FunctionType) else self.made(builder, arguments)

    def load_newobj(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self.made(self.stack[-1], arguments)

    def load_newobj_ex(self) -> None:
        self.stack.pop()
        self.load_newobj()

    def load_obj(self) -> None:
        kind, *arguments = self.pop_mark()  # type: ignore[attr-defined]
        self.stack.append(self.made(kind, arguments))

    def load_inst(self) -> None:
        module, name = (self.readline()[:-1].decode("utf-8") for _ in range(2))  # type: ignore[attr-defined]
        arguments = self.pop_mark()  # type: ignore[attr-defined]
        self.stack.append(self.made(self.find_class(module, name), arguments))

    def made(self, kind: Any, arguments: Any) -> Stub:
        """What stands for a call of ``kind``; an attribute if that is getattr."""
        name = kind.name if isinstance(kind, Stub) else ""
        if name != "builtins.getattr":
            return Stub(f"{name}()"[: MAX_CHARACTERS + 1])
        of, attribute = [*list(arguments), None, None][:2]
        path = of.name if isinstance(of, Stub) else type(of).__name__
        return self.stub(f"{path}.{attribute if isinstance(attribute, str) else '?'}")

    def load_empty_set(self) -> None:
        self.stack.append(Stub())

    def load_additems(self) -> None:
        self.pop_mark()  # type: ignore[attr-defined]

    def load_frozenset(self) -> None:
        self.load_additems()
        self.load_empty_set()

    def load_build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], ndarray.Array | ndarray.Dtype):
            self.stack[-1].state = state

    def load_bytearray8(self) -> None:
        (length,) = struct.unpack("<Q", self.read(8))  # type: ignore[attr-defined]
        data = self.read(length) if length <= sys.maxsize else b""  # type: ignore[attr-defined]
        if len(data) != length:
            raise UnreadableError("an array of bytes is cut short")
        self.stack.append(data)

    def load_append(self) -> None:
        self.extend([self.stack.pop()])

    def load_appends(self) -> None:
        self.extend(self.pop_mark())  # type: ignore[attr-defined]

    def extend(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def load_setitem(self) -> None:
        value = self.stack.pop()
        self.update([self.stack.pop(), value])

    def load_setitems(self) -> None:
        self.update(self.pop_mark())  # type: ignore[attr-defined]

    def update(self, items: list[Any]) -> None:
        """Keys that are not plain become stubs: hashing a deeply nested tuple overflows the C stack."""
        if isinstance(self.stack[-1], dict):
            for key, value in zip(items[::2], items[1::2], strict=True):
                self.stack[-1][key if isinstance(key, str | int | float | None) else Stub()] = value

    dispatch: ClassVar = _Dispatch(
        {getattr(pickle, name)[0]: _handler(name) for name in PLAIN_OPCODES.split()}
        | {
            pickle.REDUCE[0]: load_reduce,
            pickle.NEWOBJ[0]: load_newobj,
            pickle.NEWOBJ_EX[0]: load_newobj_ex,
            pickle.OBJ[0]: load_obj,
            pickle.INST[0]: load_inst,
            pickle.EMPTY_SET[0]: load_empty_set,
            pickle.ADDITEMS[0]: load_additems,
            pickle.FROZENSET[0]: load_frozenset,
            pickle.BUILD[0]: load_build,
            pickle.BYTEARRAY8[0]: load_bytearray8,
            pickle.APPEND[0]: load_append,
            pickle.APPENDS[0]: load_appends,
            pickle.SETITEM[0]: load_setitem,
            pickle.SETITEMS[0]: load_setitems,
        }
    )
