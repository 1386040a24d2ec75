"""LoRA's products with fewer passes over memory: what PEFT computes, for training in fp32.

PEFT adds the adapter's part to a layer's output in tensors of their own, forward and backward: on
a CPU that took an eighth of a step. Here it is added where the output lies.
"""

from functools import partial
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import Linear

from trainer.adapters import TRAINED


def fuse(model: PeftModel) -> None:
    """Let the layers that are trained compute their sums in place.

    A layer whose adapter is switched off goes PEFT's way, as does every layer in another type than
    fp32. Dropout is not known here.
    """
    layers: list[Any] = [module for module in model.modules() if isinstance(module, Linear)]
    for layer in layers:
        if TRAINED in layer.lora_A and layer.base_layer.bias is None:
            layer.forward = partial(_forward, layer, layer.forward)


def _forward(layer: Any, plain: Any, states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    if layer.disable_adapters or states.dtype != torch.float32:
        return plain(states, *args, **kwargs)
    return _Sum.apply(
        states,
        layer.base_layer.weight,
        layer.lora_A[TRAINED].weight,
        layer.lora_B[TRAINED].weight,
        layer.scaling[TRAINED],
    )


class _Sum(torch.autograd.Function):
    """x W' + s (x A') B', with W frozen.

    Shapes: x (..., in), W (out, in), A (rank, in), B (out, rank); ' is the transpose.
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        weight: torch.Tensor,
        down: torch.Tensor,
        up: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        flat = states.reshape(-1, states.shape[-1])
        narrow = flat @ down.t()
        found = flat @ weight.t()
        found.addmm_(narrow, up.t(), alpha=scaling)
        ctx.save_for_backward(flat, narrow, weight, down, up)
        ctx.scaling, ctx.shape = scaling, states.shape
        return found.view(*states.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        flat, narrow, weight, down, up = ctx.saved_tensors
        above = grad.reshape(-1, grad.shape[-1])
        of_narrow = (above @ up).mul_(ctx.scaling)
        of_up = (above.t() @ narrow).mul_(ctx.scaling)
        of_down = of_narrow.t() @ flat
        of_states = None
        if ctx.needs_input_grad[0]:
            of_states = (above @ weight).addmm_(of_narrow, down).view(ctx.shape)
        return of_states, None, of_down, of_up, None
