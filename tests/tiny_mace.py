"""A script, not a module: write a tiny untrained MACE model that stands in for a foundation model, and describe it.

Usage: python tiny_mace.py FILE. Run as a process of its own, so that the tests need not import torch.
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


def build(path: Path) -> None:
    """Write a model of Al, Ni and Cu with 772 random parameters."""
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
        num_elements=len(E0S),
        hidden_irreps=o3.Irreps("4x0e"),
        MLP_irreps=o3.Irreps("4x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.array(list(E0S.values())),
        avg_num_neighbors=12.0,
        atomic_numbers=list(E0S),
        correlation=2,
        radial_type="bessel",
        radial_MLP=[8, 8],
        atomic_inter_scale=0.5,
        atomic_inter_shift=0.0,
    )
    torch.save(model, path)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    build(target)
    sys.stdout.write(MaceBackend().inspect(target).model_dump_json())
