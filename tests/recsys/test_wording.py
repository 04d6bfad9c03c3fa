"""What pydantic says, as our own errors say it."""

import pytest
from pydantic import BaseModel, Field, ValidationError

from recsys.wording import expectation


class Asked(BaseModel, extra="forbid"):
    k: int = Field(10, ge=1, le=1000)
    query: str = Field("sofa", min_length=1)
    ids: list[str] = Field(default_factory=list, max_length=2)
    place: dict[str, int] | None = None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"k": 0}, "a value greater than or equal to 1"),
        ({"k": 2000}, "a value less than or equal to 1000"),
        ({"k": "many"}, "a valid integer"),
        ({"k": 1.5}, "a valid integer"),
        ({"query": ["sofa"]}, "a valid string"),
        ({"query": ""}, "at least 1 character"),
        ({"ids": ["a", "b", "c"]}, "at most 2 items"),
        ({"place": 3}, "a valid dictionary"),
        ({"other": 1}, "no field of that name"),
    ],
)
def test_of_a_real_fault(given: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Asked.model_validate(given)
    assert expectation(refused.value.errors()[0]["msg"]) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Field required", "a value"),
        ("Input should be 'view', 'click' or 'purchase'", "'view', 'click' or 'purchase'"),
        ("Value error, 'x' is not one of 'auto', 'flat'.", "one of 'auto', 'flat'"),
        ("String should match pattern '^a+$'", "a text that matches pattern '^a+$'"),
        ("Input should be a valid dictionary or object to extract fields from", "a valid object"),
        ("Something new.", "another value (Something new)"),
    ],
)
def test_of_a_message(message: str, expected: str) -> None:
    assert expectation(message) == expected
