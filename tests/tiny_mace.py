"""A script, not a module: write a tiny untrained MACE model that stands in for a foundation model, and describe it.

Usage: python tiny_mace.py FILE [ATOMIC_NUMBER=E0 ...]. Run as a process of its own, so that the tests need not import
torch.
"""

import sys
from pathlib import Path

import mace  # noqa: F401 - first: it sets how torch loads files, for e3nn too
import numpy as np
import torch
from e3nn import o3
from mace import modules

from aiida_mlip.worker.backends.mace import MaceBackend

E0S = {13: -2.4, 28: -5.1, 29: -3.7}


def build(path: Path, e0s: dict[int, float]) -> None:
    """Write a model with random parameters: 772 for three elements."""
    torch.manual_seed(1)
    torch.set_default_dtype(torch.float64)
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    model = modules.ScaleShiftMACE(
        r_max=3.5,
        num_bessel=4,
        num_polynomial_cutoff=5,
        max_ell=2,
        interaction_cls=block,
        interaction_cls_first=block,
        num_interactions=2,
        num_elements=len(e0s),
        hidden_irreps=o3.Irreps("4x0e"),
        MLP_irreps=o3.Irreps("4x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.array(list(e0s.values())),
        avg_num_neighbors=12.0,
        atomic_numbers=list(e0s),
        correlation=2,
        radial_type="bessel",
        radial_MLP=[8, 8],
        atomic_inter_scale=0.5,
        atomic_inter_shift=0.0,
    )
    torch.save(model, path)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    given = dict(text.split("=") for text in sys.argv[2:])
    build(target, {int(number): float(energy) for number, energy in given.items()} or E0S)
    sys.stdout.write(MaceBackend().inspect(target).model_dump_json())
