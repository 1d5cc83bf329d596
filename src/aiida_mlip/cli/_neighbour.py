"""The check that no other distribution provides the same import package.

stfc publishes a different project as `aiida-mlip`. It has our import name `aiida_mlip` and our entry-point prefix
`mlip.`, so whichever of the two was installed last has overwritten files of the other.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import metadata

OURS = "aiida-mlip-workchains"
THEIRS = "aiida-mlip"


def conflict(path: Sequence[str] | None = None) -> str | None:
    """Return what to do where the other distribution is installed too, or None.

    :param path: directories to search for installed distributions; None means ``sys.path``.
    """
    found = next(iter(metadata.distributions(name=THEIRS, path=list(sys.path if path is None else path))), None)
    if found is None:
        return None
    return (
        f"the distribution {THEIRS} {found.version} (https://github.com/stfc/aiida-mlip) is installed in this "
        f"environment. It has the same import name and entry points as {OURS}, and the two overwrite each other's "
        f"files. Keep one of them in each environment. To keep this one: "
        f"pip uninstall --yes {THEIRS} {OURS} && pip install {OURS}"
    )
