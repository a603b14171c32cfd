"""Computes the values of a config's assignments from its syntax tree, without executing anything."""

import ast
import operator
from collections.abc import Callable
from typing import Any

from app.errors import BadModel

MAX_DEPTH = 64
MAX_INT_BITS = 1024
MAX_ITEMS = 1_000_000  # list and dict entries, characters of computed strings and bytes of source, all files together

ACCEPTED = (
    "accepted are assignments NAME = value of constants, dict(...), {...}, [...], (...), names assigned before, "
    "arithmetic, indices and slices; a config dumped by Pointcept into the experiment folder holds nothing else"
)
OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
FOUND = {
    ast.Import: "an import",
    ast.ImportFrom: "an import",
    ast.Attribute: "an attribute",
    ast.JoinedStr: "an f-string",
    ast.Lambda: "a lambda",
    ast.ListComp: "a comprehension",
    ast.DictComp: "a comprehension",
    ast.SetComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
    ast.Set: "a set",
    ast.FunctionDef: "a function",
    ast.ClassDef: "a class",
    ast.Compare: "a comparison",
    ast.IfExp: "a condition",
    ast.If: "a condition",
    ast.For: "a loop",
    ast.While: "a loop",
    ast.AugAssign: "an augmented assignment",
}


class Interpreter:
    """Assignments into ``names``; errors are reported as of ``where``, ``line``.

    No two values share a list or a dict, so one budget of items bounds the memory of all of them.
    """

    def __init__(self) -> None:
        self.items_left = MAX_ITEMS
        self.where = ""
        self.line = 0
        self.names: dict[str, Any] = {}

    def enter(self, where: str) -> None:
        """Start on another file: no names, no line."""
        self.where, self.line, self.names = where, 0, {}

    def refusal(self, found: str, expected: str = ACCEPTED, kind: type[BadModel] = BadModel) -> BadModel:
        line = f":{self.line}" if self.line else ""
        return kind(f"{self.where}{line}: {found}; {expected}")

    def spend(self, items: int) -> None:
        self.items_left -= items
        if self.items_left < 0:
            raise self.refusal("the config grows too large", f"at most {MAX_ITEMS} items and characters are accepted")

    def statement(self, node: ast.stmt) -> None:
        self.line = node.lineno
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return
        if not isinstance(node, ast.Assign):
            raise self.refusal(f"found {_describe(node.value if isinstance(node, ast.Expr) else node)}")
        value = self.value(node.value, 0)
        for target in node.targets:
            if not isinstance(target, ast.Name) or target.id == "dict":
                raise self.refusal("found an assignment to something other than a plain name")
            self.names[target.id] = value if target is node.targets[0] else self.copy(value)

    def value(self, node: ast.expr, depth: int) -> Any:
        self.line = node.lineno
        if depth > MAX_DEPTH:
            raise self.refusal("values are nested too deep", f"at most {MAX_DEPTH} levels are accepted")
        self.spend(1)
        match node:
            case ast.Constant(value=None | bool() | int() | float() | str()):
                return self.bounded(node.value)
            case ast.Name(id=name):
                if name not in self.names:
                    raise self.refusal(f"the name {name} was not assigned before")
                return self.copy(self.names[name])
            case ast.List(elts=elements):
                return self.sequence(elements, depth)
            case ast.Tuple(elts=elements):
                return tuple(self.sequence(elements, depth))
            case ast.Dict(keys=keys, values=values):
                return self.dictionary(keys, values, depth)
            case ast.Call(func=ast.Name(id="dict")):
                return self.dict_call(node, depth)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                return self.signed(node.op, self.value(operand, depth + 1))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                return self.binary(op, self.value(left, depth + 1), self.value(right, depth + 1))
            case ast.Subscript(value=container, slice=index):
                return self.subscript(self.value(container, depth + 1), index, depth)
        raise self.refusal(f"found {_describe(node)}")

    def copy(self, value: Any, depth: int = 0) -> Any:
        """A tree that shares no list or dict with ``value``, so that every item was paid for once."""
        if depth > MAX_DEPTH:
            raise self.refusal("values are nested too deep", f"at most {MAX_DEPTH} levels are accepted")
        if isinstance(value, dict):
            self.spend(len(value))
            return {key: self.copy(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            self.spend(len(value))
            return type(value)(self.copy(item, depth + 1) for item in value)
        return value

    def bounded(self, number: Any) -> Any:
        if isinstance(number, complex) or (isinstance(number, int) and number.bit_length() > MAX_INT_BITS):
            raise self.refusal(
                "found a number out of range", f"accepted are floats and integers up to {MAX_INT_BITS} bits"
            )
        return number

    def sequence(self, elements: list[ast.expr], depth: int) -> list[Any]:
        result: list[Any] = []
        for element in elements:
            if isinstance(element, ast.Starred):
                unpacked = self.value(element.value, depth + 1)
                if not isinstance(unpacked, list | tuple):
                    raise self.refusal(f"*{type(unpacked).__name__} cannot be unpacked", "lists and tuples can")
                result.extend(unpacked)
            else:
                result.append(self.value(element, depth + 1))
        return result

    def dictionary(self, keys: list[ast.expr | None], values: list[ast.expr], depth: int) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key_node, value_node in zip(keys, values, strict=True):
            key = None if key_node is None else self.value(key_node, depth + 1)
            value = self.value(value_node, depth + 1)
            if key_node is None:
                result.update(self.mapping(value))
            elif isinstance(key, str | int | float | None):
                result[key] = value
            else:
                raise self.refusal(f"found a dict key of type {type(key).__name__}", "keys are strings or numbers")
        return result

    def dict_call(self, node: ast.Call, depth: int) -> dict[Any, Any]:
        if len(node.args) > 1 or any(isinstance(argument, ast.Starred) for argument in node.args):
            raise self.refusal("found dict() with more than one positional value", "dict(base, key=value) is accepted")
        result = self.mapping(self.value(node.args[0], depth + 1)) if node.args else {}
        for keyword in node.keywords:
            value = self.value(keyword.value, depth + 1)
            if keyword.arg is None:
                result.update(self.mapping(value))
            else:
                result[keyword.arg] = value
        return result

    def mapping(self, value: Any) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise self.refusal(f"a {type(value).__name__} stands where a dict is merged in", "only dicts can be")
        return value

    def signed(self, op: ast.unaryop, operand: Any) -> Any:
        if not isinstance(operand, int | float):
            raise self.refusal(f"found a sign before a {type(operand).__name__}", "signs stand before numbers")
        return -operand if isinstance(op, ast.USub) else +operand

    def binary(self, op: ast.operator, left: Any, right: Any) -> Any:
        if isinstance(left, int | float) and isinstance(right, int | float):
            return self.number(op, left, right)
        if isinstance(op, ast.Add) and type(left) is type(right) and isinstance(left, str | list | tuple):
            self.spend(len(left) + len(right))
            return left + right
        if isinstance(op, ast.Mult) and isinstance(left, int) and isinstance(right, str | list | tuple):
            left, right = right, left
        if isinstance(op, ast.Mult) and isinstance(left, str | list | tuple) and isinstance(right, int):
            self.spend(len(left) * max(right, 0))
            return left * right if isinstance(left, str) else self.copy(left * right)
        raise self.refusal(f"found {type(op).__name__} of {type(left).__name__} and {type(right).__name__}")

    def number(self, op: ast.operator, left: float, right: float) -> Any:
        if isinstance(op, ast.Pow) and isinstance(left, int) and left.bit_length() * abs(right) > MAX_INT_BITS:
            raise self.refusal("found a power out of range", f"accepted are results up to {MAX_INT_BITS} bits")
        try:
            return self.bounded(OPERATORS[type(op)](left, right))
        except ArithmeticError as error:
            raise self.refusal(
                f"arithmetic failed: {error}", "divisors must not be 0 and results must fit a float"
            ) from error

    def subscript(self, container: Any, index: ast.expr, depth: int) -> Any:
        if isinstance(index, ast.Slice):
            bounds = [None if part is None else self.value(part, depth + 1) for part in _parts(index)]
            key: Any = slice(*bounds)
        else:
            key = self.value(index, depth + 1)
        if not isinstance(container, str | list | tuple | dict) or isinstance(key, list | tuple | dict):
            raise self.refusal(f"a {type(container).__name__} cannot be indexed with {type(key).__name__}")
        try:
            return container[key]
        except (LookupError, TypeError, ValueError) as error:
            raise self.refusal(f"indexing failed: {error}", "the index must exist in the value") from error


def _parts(index: ast.Slice) -> tuple[ast.expr | None, ast.expr | None, ast.expr | None]:
    return index.lower, index.upper, index.step


def _describe(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return f"a constant of type {type(node.value).__name__}"
    if isinstance(node, ast.Call):
        return f"a call of {node.func.id}" if isinstance(node.func, ast.Name) else "a call"
    return FOUND.get(type(node), f"{type(node).__name__} syntax")
