"""Gated fusion of sources: the gate says per feature or per token how much each source counts."""

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from .layers.padding import valid_rows, zero_rows
from .masks import Mask


class FusionOutput(NamedTuple):
    """The fused features and the gates of the sources, which sum to 1 (to 0 where every source is missing).

    Shapes:
        out: (B, ..., dim); gates: (B, ..., sources, dim) per feature, (B, ..., sources, 1) per token.
    """

    out: Tensor
    gates: Tensor


class GatedFusion(nn.Module):
    """Mix two or more sources with learned gates.

        two sources:  g = sigmoid(W [a; b] + c),  out = g * a + (1 - g) * b
        n sources:    g = softmax over sources of (W [x_1; ...; x_n] + c),  out = sum_s g_s * x_s

    A missing source enters W as zeros, its gate is exactly 0 and the others' are renormalised; what stands in it, NaN
    included, changes nothing. Where every source is missing the output is `missing`: 0, or a learned row with
    learn_missing.

    Args:
        dim: features of the output.
        sources: how many, at least 2.
        per: a gate for every feature, or one for the whole token.
        source_dims: features of every source; sources of another width than dim are projected first. Default: dim.
        learn_missing: learn what stands for a token of which every source is missing.

    Shapes:
        sources: (B, ..., dim) each; present: (B, sources), bool; out: (B, ..., dim).

    Raises:
        ValueError: another number of sources, or shapes that differ; every source is None.

    References:
        Arevalo et al., Gated multimodal units, 2017, section 3.1 (there with tanh on the sources).
    """

    def __init__(
        self,
        dim: int,
        sources: int = 2,
        *,
        per: Literal["feature", "token"] = "feature",
        source_dims: Sequence[int] | None = None,
        learn_missing: bool = False,
    ) -> None:
        super().__init__()
        if sources < 2:
            raise ValueError(f"sources: expected at least 2, got {sources}")
        if per not in ("feature", "token"):
            raise ValueError(f"per: expected 'feature' or 'token', got {per!r}")
        self.source_dims = (dim,) * sources if source_dims is None else tuple(source_dims)
        if len(self.source_dims) != sources:
            raise ValueError(f"source_dims: expected one for each of {sources} sources, got {len(self.source_dims)}")
        self.dim, self.sources, self.per = dim, sources, per
        self.project = nn.ModuleList(
            nn.Identity() if features == dim else nn.Linear(features, dim) for features in self.source_dims
        )
        logits = 1 if sources == 2 else sources
        self.gate = nn.Linear(sources * dim, logits * (dim if per == "feature" else 1))
        self.missing = nn.Parameter(torch.zeros(dim)) if learn_missing else None

    def forward(
        self,
        *sources: Tensor | None,
        present: Tensor | Sequence[Tensor | None] | None = None,
        mask: Mask | None = None,
        need: Collection[str] = (),
    ) -> Tensor | FusionOutput:
        """Fuse the sources.

        Args:
            sources: one tensor each, or None for a source that no item has.
            present: which item has which source: (B, sources) bool, or for every source (B,) bool or None (all have
                it).
            mask: a `masks.Padding` over the rows of (B, L, ...) sources; padded rows are ignored and come out 0.
            need: {"gates"} for a FusionOutput.

        Shapes:
            sources: (B, ..., source_dim) each; out: (B, ..., dim).
        """
        unknown = set(need) - {"gates"}
        if unknown:
            raise ValueError(f"need: expected 'gates' or nothing, got {sorted(unknown)}")
        first = self._check(sources)
        keep = valid_rows(mask, first)
        there = self._present(sources, present, first)
        rows = first.shape[:-1]
        tokens = []
        for index, (source, project) in enumerate(zip(sources, self.project, strict=True)):
            valid = _over_rows(there[:, index], rows)
            if source is None:
                tokens.append(first.new_zeros((*rows, self.dim)))
            else:
                cleaned = zero_rows(source.masked_fill(~valid[..., None], 0), keep)
                tokens.append(project(cleaned).masked_fill(~valid[..., None], 0))
        gates = self._gates(torch.cat(tokens, dim=-1), there, rows)
        out = (gates * torch.stack(tokens, dim=-2)).sum(-2)
        if self.missing is not None:
            nothing = _over_rows(~there.any(1), rows)[..., None]
            out = torch.where(nothing, self.missing.to(out.dtype), out)
        out = zero_rows(out, keep)
        return FusionOutput(out, zero_rows(gates, keep)) if "gates" in need else out

    def extra_repr(self) -> str:
        """Sources and gates."""
        return f"dim={self.dim}, sources={self.sources}, per={self.per}"

    def _gates(self, joined: Tensor, there: Tensor, rows: torch.Size) -> Tensor:
        """Gates of all sources, 0 for the missing ones: (B, ..., sources, dim or 1)."""
        logits = self.gate(joined)
        valid = torch.stack([_over_rows(there[:, index], rows) for index in range(self.sources)], dim=-1)[..., None]
        if self.sources == 2:
            # sigmoid(z), sigmoid(-z): exactly the first source's gate and its complement
            both = valid.all(-2)
            gates = torch.stack([logits.sigmoid(), (-logits).sigmoid()], dim=-2)
            return torch.where(both[..., None, :], gates, valid.to(gates.dtype))
        logits = logits.unflatten(-1, (self.sources, -1))
        some = valid.any(-2, keepdim=True)
        logits = logits.masked_fill(~valid & some, -torch.inf)
        return torch.softmax(logits, -2).masked_fill(~valid, 0)

    def _check(self, sources: Sequence[Tensor | None]) -> Tensor:
        """Check the sources against each other and answer one of them, as a pattern of batch and rows."""
        if len(sources) != self.sources:
            raise ValueError(f"sources: expected {self.sources}, got {len(sources)}")
        given = [source for source in sources if source is not None]
        if not given:
            raise ValueError("sources: expected at least one tensor, got None for every one")
        for index, (source, features) in enumerate(zip(sources, self.source_dims, strict=True)):
            if source is None:
                continue
            if source.dim() < 2 or source.shape[-1] != features or source.shape[:-1] != given[0].shape[:-1]:
                expected = (*given[0].shape[:-1], features)
                raise ValueError(f"sources: expected {expected} for number {index}, got {tuple(source.shape)}")
        return given[0]

    def _present(
        self, sources: Sequence[Tensor | None], present: Tensor | Sequence[Tensor | None] | None, first: Tensor
    ) -> Tensor:
        """Which item has which source: (B, sources), bool."""
        batch = first.shape[0]
        everywhere = torch.ones(batch, dtype=torch.bool, device=first.device)
        if present is None:
            columns = [everywhere] * self.sources
        elif isinstance(present, Tensor):
            if present.dtype != torch.bool or present.shape != (batch, self.sources):
                got = f"{tuple(present.shape)} {present.dtype}"
                raise ValueError(f"present: expected ({batch}, {self.sources}) bool, got {got}")
            columns = list(present.unbind(1))
        else:
            if len(present) != self.sources:
                raise ValueError(f"present: expected one for each of {self.sources} sources, got {len(present)}")
            columns = [everywhere if column is None else column for column in present]
            for column in columns:
                if column.dtype != torch.bool or column.shape != (batch,):
                    raise ValueError(f"present: expected ({batch},) bool, got {tuple(column.shape)} {column.dtype}")
        return torch.stack(
            [
                torch.zeros_like(everywhere) if source is None else column
                for source, column in zip(sources, columns, strict=True)
            ],
            dim=1,
        )


def _over_rows(item: Tensor, rows: torch.Size) -> Tensor:
    """Spread (B,) over (B, ...)."""
    return item.reshape(item.shape + (1,) * (len(rows) - 1)).expand(rows)
