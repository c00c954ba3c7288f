"""How values are written so that equal ones are equal bytes."""

from typing import Annotated, TypeVar

from pydantic import PlainSerializer

T = TypeVar("T", bound=str)

SortedSet = Annotated[frozenset[T], PlainSerializer(sorted, return_type=list[str])]
"""A set of words, written as a list in order: the order of a set differs between processes."""
