"""The size of a method as its YAML states it: arithmetic over a backbone's sizes and the method's own numbers.

    size: L * rank * in_out          on LLaMA-2 7B  32 * 4 * 78,080 = 9,994,240

The rule is that of the paper's column "Tunable Params": weight matrices without latents and biases, and
methods that prune count what they keep.  A formula is parsed, never run: numbers, names, + - * / ( ) and
`ceil`.
"""

import ast
import math
import operator
import re
from collections.abc import Mapping
from typing import Any

from iapt.backbone.dims import Dims
from iapt.errors import ConfigError, closest

_OPERATIONS: dict[type[ast.operator], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def vocabulary(dims: Dims) -> dict[str, float]:
    """Return the sizes of a backbone that a formula may name.

    Returns:
        L blocks, d width of the stream, f of the feed-forward state, q of queries, kv of keys (and of values),
        in_out and out: (in + out) and out of all linear maps of a block together.
    """
    widths = [dims.in_out(site) for site in dims.linears]
    return {
        "L": dims.num_layers,
        "d": dims.hidden_size,
        "f": dims.ffn_size,
        "q": dims.in_out("q")[1],
        "kv": dims.in_out("k")[1],
        "in_out": sum(a + b for a, b in widths),
        "out": sum(b for _, b in widths),
    }


class SizeFormula:
    """A formula, and the names that it may use.

    Args:
        text: `size` in the YAML.
        dims: sizes of the backbone.
        entry: the method's YAML, whose numbers the formula may name (true counts as 1).

    Raises:
        ConfigError: the text is not a formula, or uses an unknown name.
    """

    def __init__(self, text: object, dims: Dims, entry: Mapping[str, Any]) -> None:
        self.text = str(text)
        self.names = vocabulary(dims) | {
            key: value for key, value in entry.items() if isinstance(value, int | float)
        }
        try:
            self._tree = ast.parse(self.text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise self._refused(str(error)) from error

    def value(self) -> int:
        """Evaluate the formula, rounded to the nearest whole number."""
        try:
            return round(self._value(self._tree))
        except (ArithmeticError, RecursionError, ValueError) as error:
            raise self._refused(str(error)) from error

    def reading(self) -> str:
        """Return the formula, and the formula with numbers in place of its names."""

        def number(match: re.Match[str]) -> str:
            value = self.names.get(match[0])
            return match[0] if value is None else f"{value:,}"

        numbers = re.sub(r"[A-Za-z_]\w*", number, self.text)
        return f"{self.text} = {numbers}".replace("*", "×")

    def _value(self, node: ast.expr) -> float:
        match node:
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.Name(id=name):
                if name not in self.names:
                    known = ", ".join(self.names)
                    raise self._refused(
                        f"{name!r} is not one of {known}.{closest(name, self.names)}"
                    )
                return self.names[name]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
                result: float = _OPERATIONS[type(op)](self._value(left), self._value(right))
                return result
            case ast.Call(func=ast.Name(id="ceil"), args=[argument], keywords=[]):
                return math.ceil(self._value(argument))
        raise self._refused("allowed are numbers, names, + - * / ( ) and ceil")

    def _refused(self, why: str) -> ConfigError:
        return ConfigError(f"method.size={self.text!r}: {why.rstrip('.')}.")
