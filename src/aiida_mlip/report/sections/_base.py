"""What a section of a report is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiida_mlip.report.subject import Subject

Content = Mapping[str, Any]
"""What a template is given; figures (plotly) may be anywhere in it."""


def _always(_subject: Subject) -> bool:
    return True


@dataclass(frozen=True)
class Section:
    """One part of a page: when it is shown, what is in it, and how it looks.

    :param title: heading, and text of its link at the top of the page.
    :param collect: reads what is shown from the finished nodes; an empty result leaves the section out.
    :param applies: whether there can be anything to show.
    :param template: file in ``templates/``; None: the name of the section.
    """

    title: str
    collect: Callable[[Subject], Content]
    applies: Callable[[Subject], bool] = _always
    template: str | None = None
