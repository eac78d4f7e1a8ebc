"""Arithmetic over named scores, read from a recipe. Nothing else can be said in it: no call, no attribute, no text."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_BINARY: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,
}
_COMPARE: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.GtE: operator.ge,
    ast.Gt: operator.gt,
    ast.LtE: operator.le,
    ast.Lt: operator.lt,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_OF_ONE: Mapping[str, Callable[[float], float]] = {
    "abs": abs,
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
}
_OF_SEVERAL: Mapping[str, Callable[..., float]] = {"min": min, "max": max}
_FUNCTIONS: Mapping[str, Callable[..., float]] = {**_OF_SEVERAL, **_OF_ONE}
_LONGEST, _DEEPEST = 2000, 50

Node = Any


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that was checked: its text, what is to be computed, and the scores it names, each once."""

    text: str
    names: tuple[str, ...]
    _tree: Node

    @classmethod
    def of(cls, text: str) -> Expression:
        """Raises ValueError for what is no such expression."""
        if len(text) > _LONGEST:
            raise ValueError(f"an expression has {_LONGEST} characters at most")
        try:
            tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ValueError(f"'{text}' is no expression: {getattr(error, 'msg', error)}") from None
        names: dict[str, None] = {}
        _check(tree, names, text, _DEEPEST)
        if not names:
            raise ValueError(f"'{text}' names no score")
        return cls(text.strip(), tuple(names), tree)

    @property
    def compares(self) -> bool:
        """Whether it says yes or no."""
        node = self._tree.operand if isinstance(self._tree, ast.UnaryOp) else self._tree
        return isinstance(node, (ast.Compare, ast.BoolOp))

    def value(self, values: Mapping[str, float]) -> float:
        """What it comes to; a comparison to 1 or 0. Raises ArithmeticError or ValueError where it comes to nothing."""
        return float(_value(self._tree, values))


def _check(node: Node, names: dict[str, None], text: str, depth: int) -> None:
    """Refuse whatever is no arithmetic, and note the names."""
    parts: list[Node] = []
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            pass
        case ast.Name():
            names[node.id] = None
        case ast.BinOp() if type(node.op) in _BINARY:
            parts = [node.left, node.right]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not()):
            parts = [node.operand]
        case ast.BoolOp():
            parts = node.values
        case ast.Compare() if all(type(op) in _COMPARE for op in node.ops):
            parts = [node.left, *node.comparators]
        case ast.IfExp():
            parts = [node.test, node.body, node.orelse]
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _FUNCTIONS:
            parts = node.args
            if (len(parts) < 2) if name in _OF_SEVERAL else (len(parts) != 1):
                takes = "two or more values" if name in _OF_SEVERAL else "one value"
                raise ValueError(f"'{ast.unparse(node)}' in '{text}': {name} takes {takes}")
        case _:
            raise ValueError(
                f"'{ast.unparse(node)}' in '{text}' is not allowed: an expression holds names of scores (of letters, "
                f"digits and '_'), numbers, + - * / **, comparisons, and, or, not, if-else, {', '.join(_FUNCTIONS)}"
            )
    if depth == 0:
        raise ValueError(f"'{text[:40]}...' is nested too deeply")
    for part in parts:
        _check(part, names, text, depth - 1)


def _value(node: Node, values: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.Name():
            return values[node.id]
        case ast.BinOp():
            return _BINARY[type(node.op)](_value(node.left, values), _value(node.right, values))
        case ast.UnaryOp(op=ast.Not()):
            return float(not _value(node.operand, values))
        case ast.UnaryOp():
            operand = _value(node.operand, values)
            return -operand if isinstance(node.op, ast.USub) else operand
        case ast.BoolOp():
            held = (bool(_value(part, values)) for part in node.values)
            return float(all(held) if isinstance(node.op, ast.And) else any(held))
        case ast.Compare():
            sides = [_value(part, values) for part in (node.left, *node.comparators)]
            pairs = zip(node.ops, sides, sides[1:], strict=False)
            return float(all(_COMPARE[type(op)](left, right) for op, left, right in pairs))
        case ast.IfExp():
            return _value(node.body if _value(node.test, values) else node.orelse, values)
        case _:
            return float(_FUNCTIONS[node.func.id](*(_value(part, values) for part in node.args)))
