"""A report as one HTML file that opens without a network: styles, scripts and figures are inside."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import plotly.graph_objects as go
from aiida import orm
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from aiida_mlip import __version__
from aiida_mlip.report import numbers, sections
from aiida_mlip.report.pages import page_of
from aiida_mlip.report.sections import Section
from aiida_mlip.report.subject import Subject

LOGGER = logging.getLogger(__name__)

CONFIG = {"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"]}


FILTERS = (
    "error", "value", "unit", "percent", "duration", "significant", "plain", "brief", "deviation", "signed",
    "core_hours",
)  # fmt: skip
"""Functions of :mod:`aiida_mlip.report.numbers` that templates use as filters."""


class Figures:
    """The figures of one page: the template gets an empty box for each, and the script at the end fills them."""

    def __init__(self) -> None:
        self._made: list[str] = []

    def __call__(self, figure: go.Figure, caption: str = "") -> Markup:
        """Return the box in which ``figure`` will be drawn, with its caption."""
        name = f"figure-{len(self._made) + 1}"
        self._made.append(f'"{name}":{figure.to_json()}')
        height = int(figure.layout.height or 360)
        return Markup('<figure><div class="plot" id="{}" style="height:{}px"></div>{}</figure>').format(
            name, height, Markup("<figcaption>{}</figcaption>").format(caption) if caption else ""
        )

    def script(self) -> Markup:
        """Return the data of all figures as JSON that cannot end its own element."""
        return Markup("{" + ",".join(self._made).replace("</", "<\\/") + "}")  # noqa: S704 - JSON, escaped here

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._made)


def environment() -> Environment:
    """Return the templates of this package, with the formats of :mod:`aiida_mlip.report.numbers` as filters."""
    made = Environment(
        loader=PackageLoader("aiida_mlip.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {name: getattr(numbers, name) for name in FILTERS}
    made.filters["typeset"] = lambda label: Markup(numbers.typeset(label))  # noqa: S704 - escaped there
    made.filters["wrappable"] = lambda name: Markup(numbers.wrappable(name))  # noqa: S704 - escaped there
    made.filters["coded"] = lambda text: Markup(numbers.coded(text))  # noqa: S704 - escaped there
    made.globals["quantities"] = numbers.QUANTITIES
    return made


def render(node: orm.ProcessNode) -> str:
    """Return the report of a process as HTML.

    What the process has not done is left out; a section that cannot be made says so and leaves the others alone.

    :raises ValueError: where there is no report for this kind of process.
    """
    subject = Subject(node)
    page, figures, templates = page_of(subject.kind), Figures(), environment()
    templates.filters["plot"] = figures
    parts = []
    for name in page.sections:
        section = sections.get(name)
        if body := _body(templates, section, name, subject):
            parts.append({"name": name, "title": section.title, "body": body})
    return templates.get_template("page.html.j2").render(
        title=page.title,
        subject=subject,
        node=node,
        sections=parts,
        figures=figures.script(),
        plotly=Markup(get_plotlyjs()) if figures else "",  # noqa: S704 - plotly's own script
        config=Markup(json.dumps(CONFIG)),  # noqa: S704 - a constant
        version=__version__,
        now=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _body(templates: Environment, section: Section, name: str, subject: Subject) -> Markup | None:
    """Return the HTML of a section; None where it has nothing to say."""
    try:
        content: Mapping[str, Any] = section.collect(subject) if section.applies(subject) else {}
        if not content:
            return None
        text = templates.get_template(section.template or f"{name}.html.j2").render(subject=subject, **content)
    except Exception as error:  # one section must not take the report down; the page says which and why
        LOGGER.exception("section %s of the report on %s", name, subject.node.pk)
        text = templates.get_template("broken.html.j2").render(error=f"{type(error).__name__}: {error}")
    return Markup(text)  # noqa: S704 - rendered with autoescape
