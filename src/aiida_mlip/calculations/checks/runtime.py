"""Checks of where a job runs: the code, the computer, its device, the folder to restart from."""

from __future__ import annotations

from collections.abc import Iterator

from aiida_mlip.calculations.checks.wording import refusal

WORKER_FILE = "mlip-worker.pyz"
"""The executable of the worker's PortableCode; a test compares it with the name the bundle is written under."""

_SETUP = "Run `aiida-mlip setup FILE.yaml` for that computer, or `aiida-mlip setup --local`, and use the code it makes"


def check_code(
    label: str, executable: str | None, made_for: str | None = None, computer: str | None = None
) -> Iterator[str]:
    """Refuse a code that is not the worker, or that was made for another computer.

    :param label: label of the code.
    :param executable: the file that a PortableCode runs, None for a code of any other kind.
    :param made_for: label of the computer that the code was made for, None where it does not say.
    :param computer: label of ``metadata.computer``, None where it is not given.
    """
    if executable is None:
        yield refusal("code", label, "it is not a PortableCode, and the worker has to travel with the job", f"{_SETUP}")
        return
    if executable != WORKER_FILE:
        yield refusal("code", label, f"it runs {executable!r}, and the worker is {WORKER_FILE!r}", f"{_SETUP}")
    if made_for and computer and made_for != computer:
        yield refusal(
            "metadata.computer",
            computer,
            f"the code {label!r} was made for {made_for!r}: it activates the Python environment there",
            f"Use the code of {computer!r}, or set metadata.computer to {made_for!r}",
        )


def check_device(device: str, computer: str, gpus: int | None) -> Iterator[str]:
    """Refuse a GPU where the computer was set up without.

    :param gpus: GPUs of one job there; None where the computer does not say.
    """
    if device == "cuda" and gpus == 0:
        yield refusal(
            "settings.device",
            device,
            f"the computer {computer!r} was set up without GPUs (jobs.gpus = 0)",
            "Use device = 'cpu', or set jobs.gpus in its YAML file and run `aiida-mlip setup` again",
        )


def check_restart(restart_computer: str, computer: str | None) -> Iterator[str]:
    """Refuse to restart from a folder that is on another computer."""
    if computer and restart_computer != computer:
        yield refusal(
            "restart_folder",
            f"<folder on {restart_computer}>",
            f"the job runs on {computer!r} and cannot copy checkpoints from another computer",
            f"Set metadata.computer to {restart_computer!r}, or start without restart_folder",
        )
