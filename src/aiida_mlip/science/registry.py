"""Packages in which each module is one thing of a kind, found by the name of the module."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cached_property
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """The things of a package; a module whose name begins with an underscore is none.

    :param package: name of the package.
    :param attribute: name of the object that each module defines.
    :param kind: type of the object.
    :param what: the kind in words, for messages.
    """

    def __init__(self, package: str, attribute: str, kind: type[T], what: str) -> None:
        self._package, self._attribute, self._kind, self._what = package, attribute, kind, what

    @cached_property
    def _names(self) -> tuple[str, ...]:
        path = importlib.import_module(self._package).__path__
        return tuple(sorted(module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_")))

    def names(self) -> tuple[str, ...]:
        """Return all names, in alphabetical order."""
        return self._names

    def get(self, name: str) -> T:
        """Return the thing of this name.

        :raises ValueError: where there is none; the message lists those there are.
        :raises TypeError: where the module defines something else.
        """
        if name not in self._names:
            raise ValueError(f"{self._what} = {name!r} is not known: known are {', '.join(self._names)}")
        found = getattr(importlib.import_module(f"{self._package}.{name}"), self._attribute)
        if not isinstance(found, self._kind):
            raise TypeError(f"{self._package}.{name}.{self._attribute} is not a {self._kind.__name__}")
        return found
