"""A model of sequences of tokens, whose memory has one size however long the text is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from isocline._core.checks import check_number, wrong
from isocline.plstm.gates import small_init_, words
from isocline.plstm.layers import PLSTM1d
from isocline.plstm.models.blocks import EPS, PreUpBlock, reset
from isocline.plstm.models.files import Pretrained

CAP = 10.0


class PLSTMLanguageModel(Pretrained, nn.Module):
    """Tokens to logits of the next token: embedding, `depth` blocks of `PLSTM1d` with state tracking, an untied head.

    Logits are capped softly, ``10 tanh(z / 10)``. With ``return_state`` a call also gives the states that continue the text: a
    list, one for each layer, whose size does not grow.

    Shapes: tokens ``(B, T)`` of integers to logits ``(B, T, vocabulary)``. ``2 dim`` is a multiple of ``heads channels``.
    Raises: ValueError for sizes that do not divide, tokens that are not in the vocabulary. Source: pLSTM, arXiv 2506.11997.
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        dim: int = 256,
        heads: int = 4,
        depth: int = 6,
        channels: int = 4,
        conv: int = 4,
        variant: str = "paper",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.vocabulary = check_number("vocabulary", vocabulary, least=1, integer=True)
        self.dim = check_number("dim", dim, least=1, integer=True)
        self.depth = check_number("depth", depth, least=1, integer=True)
        self.heads, self.channels, self.conv = heads, channels, conv
        self.variant, self.backend = variant, backend
        how: dict[str, Any] = {"channels": channels, "conv": conv, "variant": variant, "backend": backend}
        self.embed = nn.Embedding(vocabulary, dim)
        self.layers = nn.ModuleList(
            PreUpBlock(dim, PLSTM1d(2 * dim, heads, passthrough=True, **how)) for _ in range(depth)
        )
        self.norm = nn.RMSNorm(dim, EPS)
        self.head = nn.Linear(dim, vocabulary, bias=False)
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """SmallInit throughout; gates at their biases."""
        small_init_(self.embed.weight, generator)
        for layer in self.layers:
            reset(layer, generator)
        nn.init.ones_(self.norm.weight)
        reset(self.head, generator)

    def forward(
        self, tokens: Tensor, state: list[Any] | None = None, *, return_state: bool = False
    ) -> Tensor | tuple[Tensor, list[Any]]:
        self._check(tokens, state)
        x, after = self.embed(tokens), []
        for layer, before in zip(self.layers, state or [None] * self.depth, strict=True):
            x, left = layer(x, before)
            after.append(left)
        logits = CAP * torch.tanh(self.head(self.norm(x)) / CAP)
        return (logits, after) if return_state else logits

    def _check(self, tokens: Tensor, state: list[Any] | None) -> None:
        if not isinstance(tokens, Tensor) or tokens.dtype not in (torch.int32, torch.int64):
            raise wrong("tokens", "integers (B, T)", tokens, error=TypeError)
        if tokens.dim() != 2 or 0 in tokens.shape:
            raise wrong("tokens", "(B, T) with T >= 1", tuple(tokens.shape))
        if state is not None and len(state) != self.depth:
            raise wrong(
                "state",
                f"one for each of {self.depth} layers",
                len(state),
                "pass what return_state=True gave",
            )

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that rebuild this model."""
        names = ("vocabulary", "dim", "heads", "depth", "channels", "conv", "variant", "backend")
        return {name: getattr(self, name) for name in names}

    def extra_repr(self) -> str:
        return words(self, **self.config)
