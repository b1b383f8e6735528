"""Linear layers that AMD's processors compute as fast as they can."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


@cache
def onednn_is_faster() -> bool:
    """Return True if oneDNN multiplies matrices of float32 faster than the library that torch takes for them, MKL.

    MKL uses AVX-512 on Intel's processors only; oneDNN uses it wherever there is any, at twice the speed. With AVX2
    both are alike, but for the bias, which `_linear_pointwise` does not copy.
    """
    if not (torch.backends.mkl.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")):
        return False
    # Older versions of torch do not tell the processor's name.
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx2")) and "AMD" in str(capabilities.get("cpu_name"))


class OneDNNLinear(nn.Linear):
    """`nn.Linear` that multiplies by oneDNN where it can: float32 on the CPU, not empty, not traced by a compiler."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (..., out_features) of inputs (..., in_features)."""
        by_onednn = (
            inputs.is_cpu
            and inputs.numel() > 0
            and inputs.dtype == self.weight.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
        )
        outputs: Tensor = _Linear.apply(inputs, self.weight, self.bias) if by_onednn else super().forward(inputs)
        return outputs

    @staticmethod
    def replace(module: nn.Module) -> None:
        """Turn the linear layers in a module into these, with their weights, names and hooks."""
        for layer in module.modules():
            if type(layer) is nn.Linear:
                layer.__class__ = OneDNNLinear


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        return _multiply(inputs, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        rows = gradient.reshape(-1, gradient.shape[-1])
        of_inputs, of_weight, of_bias = ctx.needs_input_grad
        return (
            _multiply(gradient, weight.t()) if of_inputs else None,
            _multiply(rows.t(), inputs.reshape(-1, inputs.shape[-1]).t()) if of_weight else None,
            rows.sum(0) if of_bias else None,
        )


def _multiply(inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return inputs (..., D) times the transpose of a weight (E, D), plus a bias (E,): (..., E)."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")
    return product
