"""How far a property is: told to whoever waits, and kept so that a restart goes on from there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import ConfigDict, Field

from aiida_mlip.science.models import StrictModel


class Cost(StrictModel):
    """What was spent."""

    force_calls: int = Field(default=0, ge=0, description="how often the calculator was called")
    atom_calls: int = Field(default=0, ge=0, description="sum over the calls of the number of atoms")
    seconds: float = Field(default=0.0, ge=0, description="wall time [s]")


class Notebook(StrictModel):
    """What an unfinished property has so far; the one model that grows."""

    model_config = ConfigDict(frozen=False)

    steps: dict[str, Any] = Field(default_factory=dict, description="name of a step -> what it gave, as JSON values")
    cost: Cost = Field(default_factory=Cost, description="of all of it")


def _nobody(stage: str, step: int, total: int) -> None:
    """Tell nobody."""


@dataclass
class Journal:
    """Passed to a property as ``report``: call it to say how far the property is, and keep finished steps in it.

    ``report("relax", 3, 0)`` tells stage, step, and the number of steps or 0. :meth:`keep` computes a step only where
    no earlier job has done it; :meth:`put` and :meth:`get` serve steps that grow, such as the images of a path.

    :param tell: called as ``tell(stage, step, total)``; it may raise to stop the property.
    :param notebook: what an earlier job kept; steps are added to it.
    :param save: called after each change of the notebook.
    """

    tell: Callable[[str, int, int], None] = _nobody
    notebook: Notebook | None = None
    save: Callable[[], None] | None = None
    _counted: Callable[[], tuple[int, int]] = field(default=lambda: (0, 0), repr=False)
    _start: float = field(default_factory=time.perf_counter, repr=False)
    _earlier: Cost = field(default_factory=Cost, repr=False)

    def __call__(self, stage: str, step: int, total: int) -> None:
        """Tell how far the property is."""
        self.tell(stage, step, total)

    def begin(self, counted: Callable[[], tuple[int, int]]) -> None:
        """Start to count; ``counted`` returns the force calls and the atoms in them since then."""
        self._counted, self._start = counted, time.perf_counter()
        self._earlier = self.notebook.cost if self.notebook else Cost()

    def cost(self) -> Cost:
        """Return the cost of this and of earlier jobs."""
        calls, atoms = self._counted()
        return Cost(
            force_calls=self._earlier.force_calls + calls,
            atom_calls=self._earlier.atom_calls + atoms,
            seconds=self._earlier.seconds + time.perf_counter() - self._start,
        )

    def keep(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what the step ``name`` gives; ``make`` is called where no earlier job has done it.

        :param make: returns JSON values: numbers, texts, lists, and mappings with text keys.
        """
        found = self.get(name)
        if found is None:
            found = make()
            self.put(name, found)
        return found

    def get(self, name: str) -> Any:
        """Return what is kept of the step ``name``, or None."""
        return self.notebook.steps.get(name) if self.notebook else None

    def put(self, name: str, value: Any) -> None:
        """Keep ``value``, JSON values, for the step ``name``; it replaces what was kept before."""
        if self.notebook is None:
            return
        self.notebook.steps[name] = value
        self.notebook.cost = self.cost()
        if self.save:
            self.save()
