"""Types of a method's numbers, and the checks that a type cannot state.

Whatever builds a method from a configuration checks its arguments against these types.  The functions
below guard direct construction too: against a name that would silently mean something else, and
against a number that is absurd for the backbone.
"""

from typing import Annotated, Any, get_args

from pydantic import Field

from iapt.backbone.dims import Dims
from iapt.errors import ConfigError, closest

Rank = Annotated[int, Field(ge=1)]  # and see `rank_within`
# The upper bound names a typing error before it is allocated; no layer of a backbone is that wide.
Count = Annotated[int, Field(ge=1, le=65_536)]
Share = Annotated[float, Field(gt=0, le=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def one_of(field: str, value: object, literal: Any) -> None:
    """Refuse a value that a `Literal` does not list.

    Raises:
        ConfigError: naming field, value, what is allowed and the nearest match.
    """
    allowed = get_args(literal)
    if value not in allowed:
        listed = ", ".join(map(str, allowed))
        raise ConfigError(
            f"method.{field}={value!r}: allowed are {listed}.{closest(str(value), map(str, allowed))}"
        )


def rank_within(dims: Dims, field: str, rank: int) -> None:
    """Refuse a rank that no update of this backbone's maps can have.

    Raises:
        ConfigError: it is below 1 or above the width of the residual stream.
    """
    if not 1 <= rank <= dims.hidden_size:
        raise ConfigError(
            f"method.{field}={rank}: must be from 1 to {dims.hidden_size}, the backbone's width."
        )
