"""Time of one training step: our vision transformer beside timm's of the same shape.

    python benchmarks/vit_step.py --threads 2

Both models have the same weights, see the same images and take turns inside one process; a round's ratio is our step's
time over timm's, and the table shows the median over the rounds with its quartiles. A step is forward, cross-entropy,
backward and AdamW, all in float32.
"""

import argparse
import platform
import statistics
import sys
import time

import timm
import torch
from timm.models.vision_transformer import VisionTransformer as TimmTransformer
from torch import nn
from torch.nn import functional as F

from vision.vit import VisionTransformer

SHAPES = {
    "digits (8 px, patch 2, 64 x 4)": (8, 2, 64, 4, 4, 64),
    "small photos (32 px, patch 4, 96 x 6)": (32, 4, 96, 6, 4, 64),
    "tiny (224 px, patch 16, 192 x 12)": (224, 16, 192, 12, 3, 4),
    "small (224 px, patch 16, 384 x 12)": (224, 16, 384, 12, 6, 2),
}
"""Name -> image side, patch, features, blocks, heads, batch."""

BAR = 1.05


def same_weights(ours: VisionTransformer, theirs: TimmTransformer) -> None:
    """Copy timm's weights into our model."""
    with torch.no_grad():
        ours.patch_embed.proj.load_state_dict(theirs.patch_embed.proj.state_dict())
        ours.cls_token.copy_(theirs.cls_token)
        ours.positions.table.copy_(theirs.pos_embed[0])
        for mine, their in zip(ours.blocks, theirs.blocks, strict=True):
            mine.attention_norm.load_state_dict(their.norm1.state_dict())
            mine.mlp_norm.load_state_dict(their.norm2.state_dict())
            for name, weight, bias in zip(
                "qkv", their.attn.qkv.weight.chunk(3), their.attn.qkv.bias.chunk(3), strict=True
            ):
                projection = getattr(mine.attention, f"{name}_proj")
                projection.weight.copy_(weight)
                projection.bias.copy_(bias)
            mine.attention.out_proj.load_state_dict(their.attn.proj.state_dict())
            mine.mlp.expand.load_state_dict(their.mlp.fc1.state_dict())
            mine.mlp.contract.load_state_dict(their.mlp.fc2.state_dict())
        ours.norm.load_state_dict(theirs.norm.state_dict())
        ours.head.load_state_dict(theirs.head.state_dict())


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> float:
    """Seconds of one training step."""
    start = time.perf_counter()
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
    return time.perf_counter() - start


def measure(shape: tuple[int, ...], rounds: int, threads: int) -> tuple[float, float, list[float], float]:
    """Median milliseconds of both, the ratio of every round, and the largest difference of the logits."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    size, patch, features, blocks, heads, batch = shape
    options = {"img_size": size, "patch_size": patch, "embed_dim": features, "depth": blocks, "num_heads": heads}
    theirs, ours = TimmTransformer(num_classes=10, **options), VisionTransformer(num_classes=10, **options)
    same_weights(ours, theirs)
    x, y = torch.randn(batch, 3, size, size), torch.randint(10, (batch,))
    with torch.no_grad():
        difference = (ours.eval()(x) - theirs.eval()(x)).abs().max().item()
    models = [(m.train(), torch.optim.AdamW(m.parameters(), lr=1e-4)) for m in (ours, theirs)]
    times: list[list[float]] = [[], []]
    for turn in range(rounds + 3):
        for which in (0, 1) if turn % 2 else (1, 0):  # take turns in going first
            seconds = step(*models[which], x, y)
            if turn >= 3:
                times[which].append(seconds)
    ratios = [mine / their for mine, their in zip(*times, strict=True)]
    return 1e3 * statistics.median(times[0]), 1e3 * statistics.median(times[1]), ratios, difference


def main() -> int:
    """Measure and print the table; answer 1 if a median ratio is above the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=31)
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, timm {timm.__version__}, {platform.machine()}, {arguments.threads} threads")
    print("\n| model | batch | ours, ms | timm, ms | ratio (quartiles) | logits differ by |\n|---|---|---|---|---|---|")
    missed = []
    for name, shape in SHAPES.items():
        ours, theirs, ratios, difference = measure(shape, arguments.rounds, arguments.threads)
        low, median, high = statistics.quantiles(ratios, n=4)
        print(
            f"| {name} | {shape[-1]} | {ours:.1f} | {theirs:.1f} | {median:.3f} ({low:.3f} to {high:.3f}) "
            f"| {difference:.1e} |",
            flush=True,
        )
        if median > BAR:
            missed.append(name)
    print(f"\nBar: a median ratio of at most {BAR}; " + (f"missed by {', '.join(missed)}" if missed else "met by all"))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
