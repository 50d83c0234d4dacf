"""A karate club that broke up: what edges and the global branch attend to, and how far each model sees.

Zachary's 34 members and their 78 ties (inside PyTorch Geometric, no download), the four communities that modularity
finds, one labelled member of each. Members have no features but who they are, so only ties can tell. The recipe is
fixed: every model is tested after the last epoch, on the 30 other members.

    python demos/graphs_attention.py [--fast] [--out FOLDER]

Prints the accuracies (mean ± sd over seeds) and the share of pairs, by hops between them, over which anything passes;
saves the attention as a picture. Attention says where a node reads, not what its answer depends on.
"""

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from reporting.tables import mean_sd, table, versions
from torch import Tensor

import graphs  # isort: skip  # before PyTorch Geometric: it silences the one warning of importing that
from torch_geometric.data import Data
from torch_geometric.datasets import KarateClub

from core.analysis.figures import new_figure
from core.training import hash_arrays
from graphs.layers import hop_distances, in_degree

MODELS: dict[str, dict[str, Any]] = {
    "GAT": {"conv": "gat"},
    "ours, edges": {"structure": ("degree",)},
    "ours, edges and global branch": {"structure": ("degree", "shortest_path"), "global_attention": True},
}
COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red")


def train(data: Data, options: dict[str, Any], seed: int, epochs: int, layers: int = 2) -> graphs.GraphTransformer:
    """Train on the labelled members."""
    torch.manual_seed(seed)
    model = graphs.GraphTransformer(
        data.x.shape[1], 4, hidden=8, heads=4, layers=layers, dropout=0.3, attention_dropout=0.3, **options
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    for _ in range(epochs):
        optimizer.zero_grad()
        F.cross_entropy(model(data)[data.train_mask], data.y[data.train_mask]).backward()
        optimizer.step()
    return model.eval()


def places(data: Data) -> np.ndarray:
    """Where to draw each member: distances on paper as near to those in hops as can be."""
    from sklearn.manifold import MDS

    hops = hop_distances(data.edge_index, int(data.num_nodes)).double().numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        scaling = MDS(2, dissimilarity="precomputed", n_init=4, random_state=0, normalized_stress="auto")
        return scaling.fit_transform(hops)


def picture(data: Data, layer: graphs.GraphAttention, x: Tensor, path: Path) -> None:
    """Edges of the first layer as arrows, the global branch as a matrix, means over heads."""
    from matplotlib.collections import LineCollection

    with torch.no_grad():
        loops = torch.arange(34).expand(2, -1)  # the model adds them to every graph
        answer = layer(x, torch.cat([data.edge_index, loops], dim=1), degree=data.degree, return_attention=True)
        rows = torch.arange(34)
        near = graphs.hop_pairs(data.edge_index, 34, layer.max_distance)
        found = layer.global_branch.weights(x, rows, None, data.degree, (near.index, near.distance))
    across = torch.zeros(34, 34).scatter_add(1, found.keys.flatten(1), found.weights.flatten(1)) / layer.heads
    weights = answer.edge_weights.mean(1).numpy()
    place = places(data)
    figure = new_figure(13.5, 5.6)
    left, right = figure.subplots(1, 2, width_ratios=[1.1, 1])
    ties = answer.edge_index[0] != answer.edge_index[1]
    weights = weights[ties.numpy()]
    source, target = answer.edge_index[:, ties].numpy()
    ends = np.stack([place[source], place[target]], axis=1)
    middle = ends.mean(axis=1)  # the half of a tie that is nearer to its target shows what the target reads over it
    lines = LineCollection(np.stack([middle, ends[:, 1]], axis=1), cmap="magma_r", zorder=1, capstyle="butt")
    lines.set_array(weights)
    lines.set_clim(0, float(weights.max()))
    lines.set_linewidth(0.8 + 5 * weights)
    left.add_collection(lines)
    for kind, colour in enumerate(COLOURS):
        members = (data.y == kind).numpy()
        left.scatter(*place[members].T, s=190, color=colour, edgecolor="black", zorder=2, label=f"community {kind}")
    labelled = data.train_mask.numpy()
    left.scatter(*place[labelled].T, s=420, facecolor="none", edgecolor="black", zorder=2, label="labelled member")
    for member, (across_paper, up) in enumerate(place):
        left.text(across_paper, up, member, ha="center", va="center", fontsize=7, color="white", zorder=3)
    left.set(xticks=[], yticks=[], aspect="equal", title="Edges, first layer: at a member, its weight on the tie")
    left.autoscale_view()
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=5, frameon=False, fontsize=8, markerscale=0.6)
    figure.colorbar(lines, ax=left, label="attention weight (a member's ties and itself: 1)", shrink=0.75)
    order = torch.argsort(data.y, stable=True)
    ratio = 34 * across[order][:, order]
    top = float((ratio - 1).abs().max())
    shown = right.imshow(ratio, cmap="PuOr_r", vmin=1 - top, vmax=1 + top)
    edges = np.cumsum(data.y.bincount().numpy())[:-1] - 0.5
    for edge in edges:
        right.axhline(edge, color="black", linewidth=0.8)
        right.axvline(edge, color="black", linewidth=0.8)
    right.set_xticks(range(34), order.tolist(), fontsize=6, rotation=90)
    right.set_yticks(range(34), order.tolist(), fontsize=6)
    right.set(xlabel="member that is attended to, by community", ylabel="member that attends, by community")
    right.set_title("Global branch, first layer: weight x 34 (1: as if it did not choose)")
    figure.colorbar(shown, ax=right, label="weight x number of members", shrink=0.75)
    figure.suptitle("Whom the members of the karate club attend to (mean over heads)")
    figure.savefig(path, dpi=130)


def main() -> None:
    """Train, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="one seed, few epochs: shows that it runs, not who wins")
    parser.add_argument("--out", type=Path, default=Path("runs/graphs_attention"), help="folder of the picture")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds, epochs = (1, 10) if arguments.fast else (5, 150)
    data = KarateClub()[0]
    data.degree = in_degree(data.edge_index, 34)
    fingerprint = hash_arrays(data.edge_index, data.y)[:19]
    print(f"{versions()}\nkarate club, {fingerprint}; seeds 0..{seeds - 1}, {epochs} epochs\n")
    test = ~data.train_mask
    rows, trained = [], {}
    for name, options in MODELS.items():
        accuracy = []
        for seed in range(seeds):
            model = train(data, options, seed, epochs)
            trained.setdefault(name, model)
            with torch.no_grad():
                right = (model(data).argmax(1) == data.y)[test]
            accuracy.append(float(right.float().mean()))
        rows.append((name, mean_sd(accuracy, 3)))
    share = float(data.y[test].bincount().max() / test.sum())
    rows.append(("the largest community for everyone", f"{share:.3f}"))
    print(table(("model, two layers", "accuracy on 30 members"), rows), "\n")
    fields = {}
    for name in list(MODELS)[1:]:
        for layers in (1, 2, 3):
            model = train(data, MODELS[name], 0, 1, layers)
            fields[f"{name}, {layers} layer{'s' * (layers > 1)}"] = graphs.receptive_field(model, data)
    most = int(next(iter(fields.values())).hops.max())
    reach = [(name, *(f"{field.share(hops):.2f}" for hops in range(most + 1))) for name, field in fields.items()]
    print(
        table(
            (
                "share of pairs over which anything passes",
                *(f"{hops} hop{'s' * (hops != 1)}" for hops in range(most + 1)),
            ),
            reach,
        )
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "attention.png"
    layer = trained["ours, edges and global branch"].layers[0]
    picture(data, layer, data.x, path)
    print(f"\npicture: {path}")


if __name__ == "__main__":
    main()
