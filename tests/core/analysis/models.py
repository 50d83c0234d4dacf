"""Small models of every kind that capture knows."""

import torch
from timm.models.vision_transformer import VisionTransformer as TimmTransformer
from torch import Tensor, nn

import core
from core import biases, masks
from vision import VisionTransformer


class Direct(nn.Module):
    """A module that calls `attend` itself, in a submodule of plain torch layers."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(4, 8), nn.Linear(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        q, k = (layer(x).unflatten(-1, (2, 4)).transpose(1, 2) for layer in (self.query, self.key))
        return core.attend(q, k, k, mask=masks.Causal(), bias=biases.Alibi(torch.tensor([0.5, 0.1])))


def vit(**options) -> VisionTransformer:
    torch.manual_seed(0)
    given = {"embed_dim": 16, "depth": 2, "num_heads": 4, **options}
    model = VisionTransformer(img_size=8, patch_size=2, in_chans=1, num_classes=3, **given)
    return sharpened(model)


def timm_vit(**options) -> TimmTransformer:
    torch.manual_seed(0)
    given = {"embed_dim": 16, "depth": 2, "num_heads": 4, **options}
    return sharpened(TimmTransformer(img_size=8, patch_size=2, in_chans=1, num_classes=3, **given))


def torch_encoder(*, norm_first: bool = False, dropout: float = 0.0) -> nn.TransformerEncoder:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=dropout, batch_first=True, norm_first=norm_first)
    return sharpened(nn.TransformerEncoder(layer, 2, enable_nested_tensor=not norm_first))


def sharpened(model: nn.Module) -> nn.Module:
    """Weights away from their small initial values, so that attention is not uniform."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.5, generator=torch.Generator().manual_seed(parameter.numel()))
    return model


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def tokens(count: int = 2, length: int = 5) -> Tensor:
    return torch.randn(count, length, 16, generator=torch.Generator().manual_seed(2))
