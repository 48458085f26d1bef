"""A bounded memory: the entry unused for longest goes first."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[str, T] = OrderedDict()

    def get(self, name: str) -> T | None:
        value = self._entries.get(name)
        if value is not None:
            self._entries.move_to_end(name)
        return value

    def set(self, name: str, value: T) -> None:
        self._entries[name] = value
        self._entries.move_to_end(name)
        if len(self._entries) > self._limit:
            self._entries.popitem(last=False)
