"""The rank of a LoRA update, told from weights that were merged and rounded."""

import pytest

torch = pytest.importorskip("torch")


@pytest.fixture
def update_rank():
    from aiida_mlip.worker.training.proof import update_rank

    return update_rank


def merged(size: float, rank: int, dtype) -> tuple:
    """Weights of the usual size and an update of some rank, added in the precision of the training."""
    generator = torch.Generator().manual_seed(3)
    before = torch.randn(24, 16, generator=generator, dtype=torch.float64).to(dtype)
    left, right = (torch.randn(n, rank, generator=generator, dtype=torch.float64) for n in (24, 16))
    return before, (before.double() + size * left @ right.T).to(dtype)


@pytest.mark.parametrize("size", [1e-6, 1e-5, 1e-3, 1e-1])
def test_rounding_of_small_updates_in_single_precision_has_no_rank(update_rank, size: float) -> None:
    before, after = merged(size, 2, torch.float32)
    assert update_rank(before, after, torch.finfo(torch.float32).eps) <= 2


@pytest.mark.parametrize(("rank", "size"), [(1, 1e-5), (3, 1e-3), (8, 1e-5)])
def test_the_rank_of_an_update_is_found(update_rank, rank: int, size: float) -> None:
    before, after = merged(size, rank, torch.float64)
    assert update_rank(before, after, torch.finfo(torch.float64).eps) == rank


def test_training_all_weights_in_single_precision_is_seen(update_rank) -> None:
    before, after = merged(1e-4, 16, torch.float32)
    assert update_rank(before, after, torch.finfo(torch.float32).eps) > 8
    assert update_rank(before, before, torch.finfo(torch.float32).eps) == 0
