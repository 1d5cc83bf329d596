"""Sections of the reports, one module each, found by name.

A section is a module of this package whose name has no leading underscore and which defines ``SECTION``. A page names
the sections it has (:mod:`aiida_mlip.report.pages`); adding one touches no other section.
"""

from __future__ import annotations

from aiida_mlip.report.sections._base import Content, Section
from aiida_mlip.science.registry import Registry

__all__ = ["Content", "Section", "get", "names"]

_SECTIONS = Registry(__name__, "SECTION", Section, "section")
names, get = _SECTIONS.names, _SECTIONS.get
