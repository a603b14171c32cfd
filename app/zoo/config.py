"""Reads a Pointcept ``config.py`` as data: parses it, evaluates literals, and executes nothing."""

import ast
from pathlib import Path
from typing import Any

from app.errors import UnreadableModel

from .literals import MAX_DEPTH, Interpreter

MAX_BYTES = 128 << 10  # longer chains of operators overflow the C stack of ast.parse in Python 3.10
ITEMS_PER_FILE = 10_000  # of the budget: a hundred files at most
BASES = "_base_ is the name of a .py file inside the experiment folder, or a list of such names"


def evaluate(path: Path) -> dict[str, Any]:
    """The top-level names of the config at ``path``, its ``_base_`` files merged in as mmcv does.

    Values are None, bool, int, float, str, list, tuple and dict, none of them shared. Raises BadModel, with file and
    line, for whatever is not a literal, for files outside the folder of ``path`` and for sizes beyond any real config.
    """
    return _ConfigReader(path.parent.resolve()).read(path, [])


def bases(path: Path) -> list[str]:
    """What the ``_base_`` of the one file at ``path`` names, beside it; such files are not read. Raises as above."""
    found = _ConfigReader(path.parent).own(path).get("_base_", [])
    return [name for name in (found if isinstance(found, list | tuple) else [found]) if isinstance(name, str)]


class _ConfigReader:
    """One evaluation of a config and its bases, under one budget of items."""

    def __init__(self, root: Path):
        self.root = root
        self.interpreter = Interpreter()
        self.refusal = self.interpreter.refusal

    def read(self, path: Path, including: list[Path]) -> dict[str, Any]:
        """The names of ``path`` over those of its bases; ``including`` are the resolved files that led here."""
        own = self.own(path)
        if "_base_" not in own:
            return own
        where = self.interpreter.where
        bases = own.pop("_base_")
        merged: dict[str, Any] = {}
        chain = [*including, path.resolve()]
        for base in bases if isinstance(bases, list | tuple) else [bases]:
            self.interpreter.enter(where)
            values = self.read(self.base_path(base, path, chain), chain)
            self.interpreter.enter(where)
            repeated = ", ".join(sorted(set(merged) & set(values)))
            if repeated:
                raise self.refusal(f"two _base_ files define {repeated}", "each name may come from one of them")
            merged.update(values)
        return self.merge(merged, own, "")

    def own(self, path: Path) -> dict[str, Any]:
        self.interpreter.enter(f"{self.root.name}/{path.name:.80}")
        for statement in self.parse(path).body:
            self.interpreter.statement(statement)
        return self.interpreter.names

    def base_path(self, base: Any, path: Path, including: list[Path]) -> Path:
        if not isinstance(base, str) or "\0" in base:
            raise self.refusal(f"_base_ holds {base!r:.80}", BASES)
        try:
            found = (path.parent / base).resolve()
        except (OSError, RuntimeError) as error:  # a name too long, a loop of links
            raise self.refusal(f"_base_ {base!r:.80} cannot be looked up ({type(error).__name__})", BASES) from error
        if not found.is_relative_to(self.root):
            raise self.refusal(f"_base_ {base!r:.80} lies outside the experiment folder", BASES)
        if found in including:
            raise self.refusal(f"_base_ {base!r:.80} includes itself", "files may not include each other in a circle")
        if len(including) > MAX_DEPTH:
            raise self.refusal("_base_ files are nested too deep", f"at most {MAX_DEPTH} levels are accepted")
        return found

    def parse(self, path: Path) -> ast.Module:
        try:
            if not path.is_file():
                raise self.refusal(
                    "there is no such file",
                    "an experiment folder holds config.py as Pointcept dumps it",
                    UnreadableModel,
                )
            with path.open("rb") as file:
                source = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise self.refusal(
                f"the file cannot be read: {error.strerror}", "pointserve needs leave to read it", UnreadableModel
            ) from error
        if len(source) > MAX_BYTES:
            raise self.refusal("the file is too large", f"at most {MAX_BYTES} bytes are accepted")
        self.interpreter.spend(len(source) + ITEMS_PER_FILE)
        try:
            return ast.parse(source.decode("utf-8-sig"))
        except SyntaxError as error:
            self.interpreter.line = error.lineno or 0
            raise self.refusal(f"not valid Python: {error.msg}") from error
        except UnicodeDecodeError as error:
            raise self.refusal("the file is no text in UTF-8", "save it in that encoding") from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise self.refusal(f"not valid Python: {error or 'nested too deep'}") from error

    def merge(self, base: dict[str, Any], child: dict[str, Any], key_path: str) -> dict[str, Any]:
        """``child`` over ``base``: dicts entry by entry, or whole if the child's says ``_delete_=True``."""
        merged = dict(base)
        for key, value in child.items():
            if isinstance(value, dict):
                below = {} if value.get("_delete_") else base.get(key, {})
                if not isinstance(below, dict):
                    raise self.refusal(
                        f"{key_path}{key} is a dict here and {type(below).__name__} in _base_",
                        "say _delete_=True in the dict to replace the base's value",
                    )
                value = self.merge(below, {k: v for k, v in value.items() if k != "_delete_"}, f"{key_path}{key}.")
            merged[key] = value
        return merged
