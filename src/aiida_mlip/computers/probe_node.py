"""Print what a Python environment has. This file is copied to a computer and run there, with nothing else beside it."""

from __future__ import annotations

import importlib
import json
import platform
import sys


def installed(names: list[str]) -> dict[str, str]:
    """Return the version of each installed distribution among those named."""
    from importlib import metadata  # noqa: PLC0415 (an old Python lacks it, and its report has to reach the user)

    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def import_errors(modules: list[str]) -> dict[str, str]:
    """Import each module; return module -> error for those that fail."""
    errors = {}
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # whatever an import raises is the finding
            errors[module] = type(error).__name__ + ": " + str(error)
    return errors


def gpus() -> list[str]:
    """Return the names of the CUDA devices that torch sees; none where torch cannot be imported."""
    try:
        import torch  # noqa: PLC0415
    except ImportError:
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def main() -> None:
    """Write one line of JSON: what is there of the distributions given as ``distribution:module`` arguments."""
    pairs = [argument.split(":") for argument in sys.argv[1:]]
    report: dict[str, object] = {
        "node": platform.node(),
        "executable": sys.executable,
        "python": platform.python_version(),
    }
    try:
        versions = installed([pair[0] for pair in pairs])
    except ImportError:  # Python 3.7 or older has no importlib.metadata: its version says enough
        versions = {}
    report["versions"] = versions
    report["import_errors"] = import_errors([module for name, module in pairs if name in versions])
    report["gpus"] = gpus()
    print("MLIP-PROBE " + json.dumps(report))  # noqa: T201 (the output is the report)


if __name__ == "__main__":
    main()
