r"""Where the heads of a detector look: peaks of attention, their weights, and the windows round them.

For a sequence, a head and a strand the model says what the head attends to, a_l at base l, and what that adds to the
logit, c (`MotifDetector.look`). A peak is a base and strand of more attention than what is near; its weight is

    weight = a_l * c,

high where the head attends and where that speaks for the class. Bases are counted on the given strand, for both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from core.layers import evaluating

from ..sequences.alphabet import encode, reverse_complement


@dataclass(frozen=True, eq=False)
class Peaks:
    """Where each head looks in each sequence, and with what weight.

    Args:
        position: The base, on the given strand; -1 where a sequence has fewer peaks.
        strand: 0 where the head reads the given strand, 1 where it reads the reverse complement.
        attention: Of the peak; 0 where there is none.
        contribution: Of the head on that strand, to the logit.
        logits: Of the sequences.

    Shapes:
        n sequences, H heads, K peaks, best first by attention: (n, H, K), and (n,) for `logits`
    """

    position: NDArray[np.int64]
    strand: NDArray[np.int64]
    attention: NDArray[np.float32]
    contribution: NDArray[np.float32]
    logits: NDArray[np.float32]

    @property
    def weight(self) -> NDArray[np.float32]:
        """Attention times contribution, (n, H, K)."""
        return self.attention * self.contribution

    @property
    def heads(self) -> int:
        """H."""
        heads: int = self.position.shape[1]
        return heads


class Window(NamedTuple):
    """A stretch around a peak, as the head read it.

    Args:
        sequence: Index of the sequence.
        position: Base at its middle, on the given strand.
        strand: 0, or 1 where `letters` are the reverse complement.
        weight: Attention times contribution.
        letters: 2 * flank + 1 of them.
    """

    sequence: int
    position: int
    strand: int
    weight: float
    letters: str


def find_peaks(
    model: Any,
    sequences: Sequence[str],
    *,
    per_sequence: int = 1,
    separation: int = 9,
    batch_size: int = 256,
) -> Peaks:
    """Let a model look at sequences and note where each head's attention peaks.

    Peaks are taken greedily: the base and strand of most attention first; then those within `separation` bases of it,
    on both strands, are out.

    Args:
        model: A `MotifDetector`, or whatever has its `look`. It is put into evaluation mode for the while.
        sequences: DNA; lengths may differ.
        per_sequence: Peaks of a head in a sequence, K.
        separation: Bases between two of them, at least; half a motif's width lets neighbours stand side by side.
        batch_size: Sequences at a time.

    Raises:
        ValueError: No sequence, an empty one, or a number out of range.
    """
    if not len(sequences):
        raise ValueError("sequences: expected at least one, got none")
    if per_sequence < 1 or separation < 0 or batch_size < 1:
        raise ValueError(
            f"per_sequence, separation, batch_size: expected at least 1, 0, 1, got {per_sequence}, {separation}, "
            f"{batch_size}"
        )
    parts, device = [], device_of(model)
    with evaluating(model), torch.inference_mode():
        for start in range(0, len(sequences), batch_size):
            some = sequences[start : start + batch_size]
            look = model.look(*model_input(some, device))
            parts.append(peaks_of(look, per_sequence, separation))
    return Peaks(*(torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)))


def best_windows(peaks: Peaks, sequences: Sequence[str], head: int, *, flank: int, most: int) -> list[Window]:
    """Windows round the peaks of largest weight, best first.

    Left out: peaks whose weight is not positive, windows that reach over an end of their sequence, and those that
    share more than half with a better one of the same sequence.

    Args:
        peaks: Where the heads look.
        sequences: Their sequences.
        head: Which head.
        flank: Bases on each side.
        most: Windows.
    """
    weight = peaks.weight[:, head]  # (n, K)
    order = np.argsort(-weight, axis=None, kind="stable")
    windows: list[Window] = []
    taken: dict[int, list[int]] = {}
    for flat in order:
        i, k = divmod(int(flat), weight.shape[1])
        position, strand = int(peaks.position[i, head, k]), int(peaks.strand[i, head, k])
        if not weight[i, k] > 0 or len(windows) == most:
            break
        if not flank <= position < len(sequences[i]) - flank:
            continue
        if any(abs(position - other) <= flank for other in taken.get(i, ())):
            continue
        taken.setdefault(i, []).append(position)
        windows.append(
            Window(i, position, strand, float(weight[i, k]), letters_of(sequences[i], position, strand, flank))
        )
    return windows


class Extent(NamedTuple):
    """What a head finds from its peak: the motif's name, its offset from the peak and its width in bases."""

    name: str
    offset: int
    width: int


def span(position: int, strand: int, offset: int, width: int) -> tuple[int, int]:
    """Start and end, on the given strand, of the motif that a head finds from a peak.

    Args:
        position: Of the peak.
        strand: 0, or 1 for the reverse complement.
        offset: Bases from the peak to the motif's first position, in the direction of reading.
        width: Positions of the motif.
    """
    start = position + offset if strand == 0 else position - offset - width + 1
    return start, start + width


def letters_of(sequence: str, position: int, strand: int, flank: int) -> str:
    """What a head reads from `flank` bases before a peak to `flank` bases behind it.

    Args:
        sequence: The given strand.
        position: Of the peak; the window lies within the sequence.
        strand: 0, or 1 for the reverse complement.
        flank: Bases on each side.
    """
    letters = sequence[position - flank : position + flank + 1]
    return reverse_complement(letters) if strand else letters


def model_input(sequences: Sequence[str], device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
    """One-hot rows and lengths of sequences; None where all have one length.

    Raises:
        ValueError: One is empty.
    """
    batch = encode(sequences, mixed="pad")
    if int(batch.lengths.min()) == 0:
        raise ValueError(f"sequences[{int(batch.lengths.argmin())}]: expected at least one base, got none")
    same = bool((batch.lengths == batch.values.shape[1]).all())
    return batch.values.to(device), None if same else batch.lengths.to(device)


def device_of(model: torch.nn.Module) -> torch.device:
    """The device of a model's parameters and buffers; the CPU where it has none."""
    tensor = next(iter(model.state_dict().values()), None)
    return torch.device("cpu") if tensor is None else tensor.device


def peaks_of(look: Any, count: int, separation: int) -> tuple[torch.Tensor, ...]:
    """Position, strand, attention and contribution of the peaks of each head, and the logits; see `Peaks`.

    Args:
        look: What `MotifDetector.look` answered.
        count: Peaks of a head, K.
        separation: Bases between two of them, at least.

    Shapes:
        answer: four of (B, H, K), and (B,)
    """
    attention = look.attention.transpose(1, 2).clone()  # (B, H, 2, L)
    B, H, _, L = attention.shape
    place = torch.arange(L, device=attention.device)
    found = []
    for _ in range(count):
        value, index = attention.reshape(B, H, 2 * L).max(2)
        strand, position = index // L, torch.where(value > 0, index % L, -1)
        contribution = look.contribution.transpose(1, 2).gather(2, strand[:, :, None])[:, :, 0]
        found.append((position, strand, value.clamp(min=0), contribution))
        near = (place - position[:, :, None]).abs() <= separation  # (B, H, L)
        attention.masked_fill_(near[:, :, None], -1.0)
    columns = (torch.stack(column, dim=2) for column in zip(*found, strict=True))
    return (*columns, look.logits)
