"""Write the reference pages from the code, so that they cannot differ from it: plugins, settings, keys, modules."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import warnings
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

from aiida.common.warnings import AiidaDeprecationWarning
from aiida.manage.configuration import get_config_option
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from sphinx.application import Sphinx

from aiida_mlip.science import properties

DISTRIBUTION = "aiida-mlip-workchains"
GROUPS = {
    "aiida.workflows": "Work chains",
    "aiida.calculations": "Calculations",
    "aiida.parsers": "Parsers",
    "aiida.data": "Data",
}
ROOMS = (
    "science",
    "schema",
    "worker",
    "data",
    "computers",
    "foundation",
    "calculations",
    "parsers",
    "workchains",
    "provenance",
    "report",
)
SETTINGS = {
    "aiida_mlip.schema.training": "Training",
    "aiida_mlip.schema.finetuning": "Fine-tuning",
    "aiida_mlip.cli._launch_file": "Files of `aiida-mlip launch`",
    "aiida_mlip.schema.tasks": "Evaluation and properties",
    "aiida_mlip.schema.defects": "Defects",
    "aiida_mlip.schema.potential": "Potentials",
    "aiida_mlip.schema.job": "The job and its result",
    "aiida_mlip.computers.config": "Computers",
}


def cell(text: Any) -> str:
    """Return a text that fits in one cell of a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|") or " "


def code(text: Any) -> str:
    """Return a text as code in a cell."""
    return f"`{cell(text)}`"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table, or an empty text where there are no rows."""
    if not rows:
        return ""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n\n"


def first_paragraph(thing: Any) -> str:
    """Return the first paragraph of a docstring on one line."""
    return cell((inspect.getdoc(thing) or "").split("\n\n")[0]).replace("``", "`")


def type_name(annotation: Any) -> str:
    """Return a short name of a type."""
    if isinstance(annotation, tuple):
        return ", ".join(type_name(item) for item in annotation)
    if isinstance(annotation, type):
        return annotation.__name__
    return re.sub(r"(?<!\d)\b[a-z_]\w*\.(?=[\w])", "", str(annotation))


def port_rows(namespace: Any, prefix: str = "") -> list[tuple[str, ...]]:
    """Return one row for each port of a process, those of AiiDA's own `metadata` left out."""
    rows: list[tuple[str, ...]] = []
    for name, port in namespace.items():
        if name == "metadata":
            continue
        full = f"{prefix}{name}"
        if hasattr(port, "items") and len(port):
            rows += port_rows(port, f"{full}.")
            continue
        needed = "yes" if port.required else "no"
        rows.append((code(full), cell(type_name(port.valid_type or "any")), needed, cell(port.help or "")))
    return rows


def process_section(process: Any) -> str:
    """Return the tables of a process: inputs, outputs, exit codes."""
    spec = process.spec()
    head = ("name", "type", "required", "meaning")
    text = ""
    if rows := port_rows(spec.inputs):
        text += "Inputs\n\n" + table(head, rows)
    if rows := port_rows(spec.outputs):
        text += "Outputs\n\n" + table(head, rows)
    codes = sorted(spec.exit_codes.items(), key=lambda item: item[1].status)
    rows = [(str(item.status), code(name), cell(item.message)) for name, item in codes if item.status >= 200]
    return text + ("Exit codes\n\n" + table(("status", "name", "message"), rows) if rows else "")


def plugins_page() -> str:
    """Return the page of the entry points."""
    text = "# Plugins\n\nWhat this package registers in AiiDA.\n\n"
    points = list(metadata.distribution(DISTRIBUTION).entry_points)
    for group, title in GROUPS.items():
        text += f"## {title}\n\n"
        for point in sorted((item for item in points if item.group == group), key=lambda item: item.name):
            loaded = point.load()
            text += f"### {code(point.name)}\n\n{first_paragraph(loaded)}\n\n"
            text += f"Class {code(point.value.replace(':', '.'))}.\n\n"
            if group in {"aiida.workflows", "aiida.calculations"}:
                text += process_section(loaded)
    return text


def default_text(field: Any) -> str:
    """Return the default of a field of a model."""
    if field.default_factory is not None:
        return code(f"{type_name(field.default_factory)}()")
    return "required" if field.default is PydanticUndefined else code(repr(field.default))


def settings_page() -> str:
    """Return the page of the typed inputs."""
    text = "# Settings\n\nEvery typed input: fields that are not listed here are refused.\n\n"
    for module_name, title in SETTINGS.items():
        module = importlib.import_module(module_name)
        models = [
            item
            for item in vars(module).values()
            if isinstance(item, type) and issubclass(item, BaseModel) and item.__module__ == module_name
        ]
        text += f"## {title}\n\n"
        for model in sorted(models, key=lambda item: inspect.getsourcelines(item)[1]):
            text += f"### {code(model.__name__)}\n\n{first_paragraph(model)}\n\n" + model_table(model)
    return text


def model_table(model: type[BaseModel]) -> str:
    """Return the table of the fields of a model."""
    rows = [
        (code(name), cell(type_name(field.annotation)), default_text(field), cell(field.description or ""))
        for name, field in model.model_fields.items()
    ]
    return table(("field", "type", "default", "meaning"), rows)


def properties_page() -> str:
    """Return the page of the properties that the registry finds."""
    text = "# Properties\n\nWhat can be computed with a potential: inputs, and the fields of the result.\n\n"
    for name in properties.names():
        prop = properties.get(name)
        text += f"## {code(name)}\n\n{cell(prop.summary)}\n\n"
        text += "Inputs\n\n" + model_table(prop.inputs) + "Result\n\n" + model_table(prop.result)
    return text


def keys_table() -> str:
    """Return the table of the fields of a labelled configuration, from the constants of `science/keys.py`."""
    module = importlib.import_module("aiida_mlip.science.keys")
    body = ast.parse(inspect.getsource(module)).body
    rows = []
    for node, follower in pairwise(body):
        if isinstance(node, ast.Assign) and isinstance(follower, ast.Expr) and isinstance(follower.value, ast.Constant):
            name = ast.unparse(node.targets[0])
            meaning = cell(follower.value.value).replace("``", "`")
            rows.append((code(name), code(getattr(module, name)), meaning))
    return table(("constant", "value", "meaning"), rows)


def public_modules(room: str) -> list[str]:
    """Return the public modules of a room, its package first."""
    package = importlib.import_module(f"aiida_mlip.{room}")
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    names = [item.name for item in found if not any(part.startswith("_") for part in item.name.split("."))]
    return [package.__name__, *sorted(names)]


def room_page(room: str) -> str:
    """Return the page of one room."""
    text = f"# `aiida_mlip.{room}`\n\n"
    for name in public_modules(room):
        text += f"## `{name}`\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n\n"
    return text


def api_index() -> str:
    """Return the page that lists the rooms."""
    names = "\n".join(f"api-{room}" for room in ROOMS)
    return (
        f"# Python modules\n\nOne page for each room of the package.\n\n```{{toctree}}\n:maxdepth: 1\n\n{names}\n```\n"
    )


def generate(app: Sphinx) -> None:
    """Write all pages, each only where its text changed."""
    folder = Path(app.srcdir) / "reference" / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    pages = {
        "plugins": plugins_page(),
        "settings": settings_page(),
        "properties": properties_page(),
        "keys": keys_table(),
        "modules": api_index(),
    }
    pages |= {f"api-{room}": room_page(room) for room in ROOMS}
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    # autodoc looks at every attribute next, the deprecated ones of AiiDA's base classes included; AiiDA sets its
    # filters when it first reads its configuration
    get_config_option("warnings.showdeprecations")
    warnings.simplefilter("ignore", AiidaDeprecationWarning)


def setup(app: Sphinx) -> dict[str, bool]:
    """Generate the pages before Sphinx looks for sources."""
    app.connect("builder-inited", generate)
    return {"parallel_read_safe": True}
