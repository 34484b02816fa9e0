"""Products of matrices: as torch's, with all their derivatives, whatever library multiplies."""

import pytest
import torch

from isocline._core.matrices import LONG, product, products


def _drawn(n, m, d, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randn(2, rows, d, dtype=dtype, generator=generator, requires_grad=True) for rows in (n, m)
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-13)])
@pytest.mark.parametrize("n", [3, LONG])
def test_as_torchs(n, dtype, tolerance):
    a, b = _drawn(n, 5, 40, dtype)
    wanted = a @ b.mT
    torch.testing.assert_close(products(a, b), wanted, rtol=tolerance, atol=40 * tolerance)
    torch.testing.assert_close(
        product(a[0].detach(), b[0].detach()), wanted[0].detach(), rtol=tolerance, atol=40 * tolerance
    )


def test_derivatives():
    a, b = _drawn(3, 2, 4)
    assert torch.autograd.gradcheck(products, (a, b))
    assert torch.autograd.gradgradcheck(products, (a, b))


def _score(a, b):
    return products(a, b).square().sum()


def _plain(a, b):
    return (a @ b.mT).square().sum()


def test_under_transforms():
    """float32 and long, where oneDNN multiplies."""
    a, b = (x.detach() for x in _drawn(LONG, 4, 6, torch.float32))
    many = torch.stack([a, 2 * a, 3 * a])
    each = torch.func.vmap(torch.func.grad(_score), (0, None))
    wanted = torch.func.vmap(torch.func.grad(_plain), (0, None))(many, b)
    torch.testing.assert_close(each(many, b), wanted, rtol=1e-5, atol=1e-2)


@pytest.mark.slow
# torch 2.13 instantiates every autograd function that it traces, and warns of it
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_compiled():
    a, b = (x.detach() for x in _drawn(LONG, 4, 6, torch.float32))
    compiled = torch.compile(_score, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(a, b), _plain(a, b), rtol=1e-5, atol=1e-2)
