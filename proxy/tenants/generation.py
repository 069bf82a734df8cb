"""How often the registry's answers have changed: a number that every transaction compares with the one that it knows."""

from __future__ import annotations


class Generation:
    """One count, in a class of its own: where that is compiled it is read without looking it up by name."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0
