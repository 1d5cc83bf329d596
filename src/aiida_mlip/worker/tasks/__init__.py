"""Registry of the tasks: a task is a function of a :class:`~aiida_mlip.worker.context.Context` that returns a payload.

Tasks are imported when they run, so that one does not need what another needs. No task imports another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from aiida_mlip.worker.context import Context

TaskFunction = Callable[[Context], dict[str, Any]]

TASKS: Mapping[str, str] = {
    "train": "aiida_mlip.worker.tasks.train:run",
    "evaluate": "aiida_mlip.worker.tasks.evaluate:run",
    "label": "aiida_mlip.worker.tasks.label:run",
    "liquid": "aiida_mlip.worker.tasks.liquid:run",
    "md": "aiida_mlip.worker.tasks.md:run",
    "property": "aiida_mlip.worker.tasks.property:run",
    "select": "aiida_mlip.worker.tasks.select:run",
    "uncertainty": "aiida_mlip.worker.tasks.uncertainty:run",
}
"""Name -> ``module:function``."""


def load_task(name: str) -> TaskFunction:
    """Import and return the function of a task; the names are those of the job contract."""
    module, function = TASKS[name].split(":")
    task: TaskFunction = getattr(import_module(module), function)
    return task
