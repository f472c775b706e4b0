"""From the query of a URL to what is asked; strict, and nothing of it comes back."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.problems import INVALID, Refusal
from serving.schemas import FieldError

MOST_A_PAGE = 200
PLAIN_WORDS = {
    "extra_forbidden": "has an unknown parameter; see /openapi.json",
    "int_parsing": "must be a whole number",
    "string_pattern_mismatch": "must be a value that an earlier answer gave",
}
Limit = Annotated[int, Field(ge=1, le=MOST_A_PAGE)]
Cursor = Annotated[str, Field(pattern=r"^[0-9]{1,18}$")]


class Query(BaseModel):
    """Parameters of a URL, each given once at most."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


Q = TypeVar("Q", bound=Query)


def asked(request: Request, model: type[Q]) -> Q:
    """Read the parameters, or raise the `Refusal` that points at those that are wrong."""
    given = request.query_params.multi_items()
    by_name = dict(given)
    if len(by_name) < len(given):
        fault = FieldError(pointer="", detail="has a parameter twice")
        raise Refusal(INVALID, errors=(fault,))
    try:
        return model.model_validate(by_name)
    except ValidationError as error:
        found = [_fault(one["type"], one["loc"], one["msg"]) for one in error.errors()]
        raise Refusal(INVALID, errors=tuple(found)) from None


def _fault(kind: str, place: tuple[int | str, ...], message: str) -> FieldError:
    """Say what is wrong; the name of an unknown parameter is input, and left out."""
    pointer = "" if kind == "extra_forbidden" else f"/{place[0]}"
    return FieldError(pointer=pointer, detail=PLAIN_WORDS.get(kind, message))


def parameter(name: str, description: str, example: Any = None, **schema: Any) -> dict[str, Any]:
    """Describe a parameter of a URL."""
    described = {"name": name, "in": "query", "required": False, "description": description}
    return {**described, "schema": schema, **({} if example is None else {"example": example})}


LIMIT = parameter(
    "limit", "The most to return.", type="integer", minimum=1, maximum=MOST_A_PAGE, default=50
)
