"""Pack the worker into one file that runs wherever Python, ASE and a backend are: ``mlip-worker.pyz``.

The archive holds ``science``, ``schema`` and ``worker``, and nothing of the rest. It is the same byte for byte
whenever and wherever it is made from the same sources: entries are sorted, and their times and permissions are fixed.
Its content enters the hash of every calculation through the code node, so an upgraded worker never hits an old cache
entry.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import aiida_mlip

WORKER_FILE = "mlip-worker.pyz"
PARTS = ("science", "schema", "worker")

_SHEBANG = b"#!/usr/bin/env python3\n"
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
_MAIN = "import sys\n\nfrom aiida_mlip.worker.__main__ import main\n\nsys.exit(main())\n"


def build_worker(target: Path) -> Path:
    """Write the worker archive.

    :param target: the file to write, or a folder, where it is called ``mlip-worker.pyz``.
    :return: the path of the file, which is executable.
    """
    path = target / WORKER_FILE if target.is_dir() else target
    path.write_bytes(worker_bytes())
    path.chmod(0o755)
    return path


def worker_label() -> str:
    """Return ``mlip-worker-<version>-<hash>``, where the hash is the first 8 digits of the archive's sha256."""
    return f"mlip-worker-{aiida_mlip.__version__}-{hashlib.sha256(worker_bytes()).hexdigest()[:8]}"


def worker_bytes() -> bytes:
    """Return the content of the archive."""
    root = Path(aiida_mlip.__file__).parent
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        _add(archive, "__main__.py", _MAIN.encode())
        for path in _sources(root):
            # Unix line ends, so that a checkout on another system makes the same archive
            content = path.read_bytes().replace(b"\r\n", b"\n")
            _add(archive, f"aiida_mlip/{path.relative_to(root).as_posix()}", content)
    return _SHEBANG + buffer.getvalue()


def _sources(root: Path) -> list[Path]:
    found = [root / "__init__.py"]
    for part in PARTS:
        found += [
            path
            for path in (root / part).rglob("*")
            if path.is_file() and path.suffix != ".pyc" and path != Path(__file__) and "__pycache__" not in path.parts
        ]
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    # stored, not deflated: the result of compression depends on the zlib that made it
    info = zipfile.ZipInfo(name, date_time=_TIMESTAMP)
    info.compress_type = zipfile.ZIP_STORED
    info.create_system = 3
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)
