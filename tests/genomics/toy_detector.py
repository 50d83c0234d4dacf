"""A detector whose heads are matrices that are known: what it attends to can be said by hand."""

import torch
from torch import nn

from genomics.detector.model import Look
from genomics.sequences.alphabet import reverse_complement_one_hot


class ToyDetector(nn.Module):
    """Head h scores each window of both strands by its matrix, attends by softmax(sharpness * score), adds the mean.

    A position is the middle of a window, w // 2 behind its first base; `shift` moves what a head attends to off its
    motif, by as many bases in the direction of reading. Windows over an end are not scored.
    """

    def __init__(self, matrices, sharpness=50.0, shift=0):
        super().__init__()
        self.register_buffer("matrices", torch.stack([torch.as_tensor(m, dtype=torch.float32) for m in matrices]))
        self.sharpness, self.shift = sharpness, shift
        self.calls = []

    def forward(self, x, lengths=None):
        return self.look(x, lengths).logits

    def look(self, x, lengths=None):
        self.calls.append((tuple(x.shape), self.training))
        lengths = torch.full((len(x),), x.shape[1]) if lengths is None else lengths
        H, w, _ = self.matrices.shape
        scores = []
        for strand in (x, reverse_complement_one_hot(x, lengths)):
            score = torch.full((len(x), H, x.shape[1]), -torch.inf)
            windows = strand.unfold(1, w, 1)  # (B, L - w + 1, 4, w)
            values = torch.einsum("blcw,hwc->bhl", windows, self.matrices)
            ends = torch.arange(values.shape[2]) + w <= lengths[:, None, None]
            first = w // 2 + self.shift
            score[:, :, first : first + values.shape[2]] = torch.where(ends, values, -torch.inf)
            scores.append(score)
        scores = torch.stack(scores, dim=1)  # (B, 2, H, L), each strand in its own direction
        weights = (self.sharpness * scores).transpose(1, 2).flatten(2).softmax(2).unflatten(2, (2, -1)).transpose(1, 2)
        contribution = (weights * scores.clamp(min=-1e9)).sum(3)
        attention = weights.clone()
        for b, length in enumerate(lengths.tolist()):
            attention[b, 1, :, :length] = weights[b, 1, :, :length].flip(-1)
        return Look(contribution.sum((1, 2)), attention, contribution)


def word_matrix(word):
    """+1 for each letter of the word, -1 for every other."""
    return torch.eye(4)[["ACGT".index(letter) for letter in word]] * 2 - 1
