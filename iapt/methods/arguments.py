"""Types of a method's arguments, and checks that a type cannot express.

Building a method from a configuration checks its arguments against these types.  The functions below also
guard direct construction against an unknown name, and against a number that is absurd for the backbone.
"""

from typing import Annotated, Any, get_args

from pydantic import Field

from iapt.backbone.dims import Dims
from iapt.configuration.checking import Count
from iapt.errors import ConfigError, closest

Rank = Count  # `rank_within` checks the upper bound
# The upper bound catches a typing error before it is allocated; no layer of a backbone is that wide.
Size = Annotated[int, Field(ge=1, le=65_536)]


def one_of(field: str, value: object, literal: Any) -> None:
    """Refuse a value that a `Literal` does not list.

    Raises:
        ConfigError: naming the field, the value, what is allowed and the nearest match.
    """
    allowed = get_args(literal)
    if value not in allowed:
        listed = ", ".join(map(str, allowed))
        raise ConfigError(
            f"method.{field}={value!r}: allowed are {listed}.{closest(str(value), map(str, allowed))}"
        )


def rank_within(dims: Dims, field: str, rank: int) -> None:
    """Refuse a rank that is too large for this backbone's maps.

    Raises:
        ConfigError: the rank is below 1 or above the width of the residual stream.
    """
    if not 1 <= rank <= dims.hidden_size:
        raise ConfigError(
            f"method.{field}={rank}: must be from 1 to {dims.hidden_size}, the backbone's width."
        )
