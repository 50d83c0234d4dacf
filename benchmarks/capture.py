"""Time of a forward pass whose attention entropies are captured, beside the plain forward pass.

    python benchmarks/capture.py --threads 2

A vision transformer of 12 layers in evaluation, without gradients, float32. Both passes run the same model on the same
images and take turns inside one process; a round's ratio is the captured pass's time over the plain one's, and the
table shows the median over the rounds with its quartiles. Both passes' logits are compared bit for bit.
"""

import argparse
import platform
import statistics
import sys
import time

import torch
from torch import nn

from core.analysis.capture import capture
from vision.vit import VisionTransformer

SIZE, PATCH, FEATURES, LAYERS, HEADS, BATCH = 224, 16, 192, 12, 3, 8
BAR = 1.3
CASES = {
    "entropy": {"quantities": ("entropy",)},
    "inputs": {"quantities": ("inputs",)},
    "weights of the class token": {"quantities": ("weights",), "rows": [0]},
    "all weights": {"quantities": ("weights",)},
}
"""What is captured -> arguments of capture. The bar is for the first."""


def seconds(model: nn.Module, x: torch.Tensor, options: dict | None) -> tuple[float, torch.Tensor]:
    """Time of one forward pass and its logits; captured if there are options."""
    start = time.perf_counter()
    if options is None:
        out = model(x)
    else:
        with capture(model, **options):
            out = model(x)
    return time.perf_counter() - start, out


def measure(model: nn.Module, x: torch.Tensor, options: dict, rounds: int) -> tuple[float, float, list[float], bool]:
    """Median milliseconds of both, the ratio of every round, and whether all logits are equal bit for bit."""
    times: list[list[float]] = [[], []]
    same = True
    for turn in range(rounds + 2):
        results = {}
        for which in (0, 1) if turn % 2 else (1, 0):  # take turns in going first
            results[which] = seconds(model, x, options if which else None)
        same = same and torch.equal(results[0][1], results[1][1])
        if turn >= 2:
            for which in (0, 1):
                times[which].append(results[which][0])
    ratios = [captured / plain for plain, captured in zip(*times, strict=True)]
    return 1e3 * statistics.median(times[0]), 1e3 * statistics.median(times[1]), ratios, same


def main() -> int:
    """Measure and print the table; answer 1 if the bar is missed or an output changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=SIZE, patch_size=PATCH, num_classes=10, embed_dim=FEATURES, depth=LAYERS, num_heads=HEADS
    ).eval()
    x = torch.randn(BATCH, 3, SIZE, SIZE)
    tokens = (SIZE // PATCH) ** 2 + 1
    print(f"torch {torch.__version__}, {platform.machine()}, {arguments.threads} threads")
    print(f"\n{LAYERS} layers, {FEATURES} features, {HEADS} heads, {tokens} tokens, batch {BATCH}\n")
    print("| captured | plain, ms | captured, ms | ratio (quartiles) | same logits |\n|---|---|---|---|---|")
    failed = False
    with torch.no_grad():
        for number, (name, options) in enumerate(CASES.items()):
            plain, captured, ratios, same = measure(model, x, options, arguments.rounds)
            low, median, high = statistics.quantiles(ratios, n=4)
            print(
                f"| {name} | {plain:.0f} | {captured:.0f} | {median:.3f} ({low:.3f} to {high:.3f}) "
                f"| {'yes' if same else 'NO'} |",
                flush=True,
            )
            failed = failed or not same or (number == 0 and median > BAR)
    print(f"\nBar: a median ratio of at most {BAR} for the entropy; " + ("missed" if failed else "met"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
