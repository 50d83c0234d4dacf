"""Scan long sequences by overlapping windows: probabilities along them, and sites where a window is called.

Every window of the training length is judged by the model, both strands at once, as the model always does. Where the
probability reaches the threshold, the model is asked what its heads look at there, and the peaks that carry the
call become sites. A window of a balanced training set is not one of a genome: probabilities rank windows, but among the
many of a genome most that reach .5 may be false. Choose the threshold on sequences of which you know.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from core.layers import evaluating
from core.training import replacing

from ..sequences.fasta_windows import Block, fasta_windows
from .peaks import Extent, device_of, peaks_of, span
from .records import HIGHEST, Site, bed_line, opened


class Judged(NamedTuple):
    """A block of windows with their probabilities, and the sites in those that are called.

    Args:
        block: The windows; their one-hot rows are left out.
        probability: Of each window.
        sites: By window, unsorted; windows that overlap may show one site twice.

    Shapes:
        probability: (n,)
    """

    block: Block
    probability: Tensor
    sites: list[Site]


class Summary(NamedTuple):
    """What was scanned: bases, windows that were judged, windows that were called, and sites."""

    bases: int
    windows: int
    called: int
    sites: int


def judge(
    model: Any,
    blocks: Iterable[Block],
    *,
    threshold: float = 0.9,
    share: float = 0.5,
    flank: int = 9,
    extents: Mapping[int, Extent] | None = None,
    threads: int = 1,
) -> Iterator[Judged]:
    """Judge blocks of windows in their order.

    Args:
        model: A `MotifDetector`, or whatever has `forward` and `look`.
        blocks: What `fasta_windows` cuts.
        threshold: Windows of at least this probability are called.
        share: Of the peaks in a called window, those of at least this share of the largest weight are sites.
        flank: A site is a peak and as many bases on each side, where the head has no extent.
        extents: What heads find, by their numbers; with it, heads that are not among them make no sites.
        threads: Blocks that are judged at the same time, on one core each.

    Raises:
        ValueError: A number out of range.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold: expected 0 .. 1, got {threshold}")
    if not 0 < share <= 1:
        raise ValueError(f"share: expected above 0 and at most 1, got {share}")
    if threads < 1:
        raise ValueError(f"threads: expected at least 1, got {threads}")

    def work(block: Block) -> Judged:
        with torch.inference_mode():
            light = block._replace(values=block.values[:0])
            if not len(block.starts):
                return Judged(light, torch.zeros(0), [])
            values = block.values.to(device)
            lengths = None if block.lengths is None else block.lengths.to(device)
            probability = model(values, lengths).sigmoid().cpu()
            called = (probability >= threshold).nonzero()[:, 0]
            if not len(called):
                return Judged(light, probability, [])
            look = model.look(values[called.to(device)], lengths)
            peaks = [part[:, :, 0].cpu() for part in peaks_of(look, 1, 0)[:4]]
            return Judged(light, probability, _sites(block, called, probability, peaks, share, flank, extents))

    device = device_of(model)
    with evaluating(model), one_core_each(threads):
        if threads == 1:
            yield from map(work, blocks)
        else:
            yield from _in_order(work, blocks, threads)


def scan_fasta(
    model: Any,
    genome: str | PathLike[str],
    out: str | PathLike[str],
    *,
    window: int,
    stride: int | None = None,
    threshold: float = 0.9,
    bedgraph: str | PathLike[str] | None = None,
    batch_size: int = 128,
    progress: Callable[[int], None] | None = None,
    **options: Any,
) -> Summary:
    """Scan a FASTA file into a BED file of sites; files appear when all is scanned, or not at all.

    Sites are ordered by their start within each sequence, their score is 1000 times the probability of the window.
    Sites of one head and strand that share more than half are one site, that of the better window.

    Args:
        model: See `judge`.
        genome: FASTA, plain or gzip.
        out: BED 6; gzip where it ends in ".gz".
        window: Bases of a window: the length that the model was trained on.
        stride: Bases between windows; None is half a window.
        threshold: Windows of at least this probability are called.
        bedgraph: Also write the probability along the sequences: each window's over the `stride` bases in its middle.
        batch_size: Windows at a time.
        progress: Called with the number of bases that were read since the last call.
        options: The other ones of `judge`.

    Raises:
        SequenceFileError: See `fasta_windows`.
        ValueError: See `fasta_windows` and `judge`.
    """
    stride = max(1, window // 2) if stride is None else stride
    bases = windows = called = sites = 0
    with ExitStack() as stack:
        bed = stack.enter_context(_new_text(out))
        track = None if bedgraph is None else stack.enter_context(_new_text(bedgraph))
        merger, bins = _Merger(), _Bins(window, stride)
        blocks = fasta_windows(genome, window, stride, batch_size=batch_size)
        for block, probability, found in judge(model, blocks, threshold=threshold, **options):
            bases, windows = bases + block.new, windows + len(probability)
            called += int((probability >= threshold).sum())
            done = int(block.starts[-1]) - window if len(block.starts) else 0  # later windows begin behind the last one
            for site in merger.add(found, done, block.last):
                bed.write(bed_line(site))
                sites += 1
            if track is not None:
                for start, end, value in bins.of(block, probability):
                    track.write(f"{block.id}\t{start}\t{end}\t{value:.4g}\n")
            if progress is not None:
                progress(block.new)
    return Summary(bases, windows, called, sites)


@contextmanager
def one_core_each(threads: int) -> Iterator[None]:
    """Let torch use one core for each of several threads, and as many as before afterwards."""
    before = torch.get_num_threads()
    try:
        if threads > 1:
            torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(before)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_order(work: Callable[[Block], Judged], blocks: Iterable[Block], threads: int) -> Iterator[Judged]:
    """Map in several threads, in order, with no more than a few blocks in hand."""
    waiting: deque[Future[Judged]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for block in blocks:
                waiting.append(pool.submit(work, block))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _sites(
    block: Block,
    called: Tensor,
    probability: Tensor,
    peaks: list[Tensor],
    share: float,
    flank: int,
    extents: Mapping[int, Extent] | None,
) -> list[Site]:
    position, strand, attention, contribution = peaks  # (windows called, H)
    weight = attention * contribution
    if extents is not None:
        known = torch.zeros(weight.shape[1], dtype=torch.bool)
        known[[head for head in extents if head < len(known)]] = True
        weight = weight.masked_fill(~known, 0.0)
    chosen = (weight > 0) & (weight >= share * weight.amax(1, keepdim=True))
    found = []
    for row, head in chosen.nonzero().tolist():
        where = int(called[row])
        extent = Extent(f"head{head}", -flank, 2 * flank + 1) if extents is None else extents[head]
        base, turned = int(block.starts[where] + position[row, head]), int(strand[row, head])
        start, end = span(base, turned, extent.offset, extent.width)
        start, end = max(0, start), min(end, block.bases)
        if start < end:
            score = round(HIGHEST * float(probability[where]))
            found.append(Site(block.id, start, end, extent.name, score, "+-"[turned]))
    return found


class _Merger:
    """Holds sites until no later window can show them again, and lets them go sorted."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], list[Site]] = {}

    def add(self, sites: Iterable[Site], done: int, last: bool) -> Iterator[Site]:
        """Take sites; give those that start before `done`, or all with the last block of a sequence."""
        for site in sites:
            alike = self.held.setdefault((site.name, site.strand), [])
            rivals = [k for k, other in enumerate(alike) if _same(site, other)]
            if all(site.score > alike[k].score for k in rivals):
                for k in reversed(rivals):
                    del alike[k]
                alike.append(site)
        ready: list[Site] = []
        for key, alike in self.held.items():
            ready += [site for site in alike if last or site.start < done]
            self.held[key] = [site for site in alike if not last and site.start >= done]
        yield from sorted(ready, key=lambda site: (site.start, site.end, site.name, site.strand))


def _same(a: Site, b: Site) -> bool:
    """Whether more than half of the shorter one is in both."""
    common = min(a.end, b.end) - max(a.start, b.start)
    return 2 * common > min(a.end - a.start, b.end - b.start)


class _Bins:
    """The stretch of each window in the track: the `stride` bases in its middle, up to the ends of the sequence."""

    def __init__(self, window: int, stride: int) -> None:
        self.window, self.stride, self.before = window, stride, (window - stride) // 2
        self.end = 0

    def of(self, block: Block, probability: Tensor) -> Iterator[tuple[int, int, float]]:
        """Start, end and probability for each window of a block; gaps only where windows were left out."""
        for first, value in zip(block.starts.tolist(), probability.tolist(), strict=True):
            start = 0 if first == 0 else max(self.end, first + self.before)
            final = block.last and first + self.window >= block.bases
            end = block.bases if final else first + self.before + self.stride
            if start < end:
                yield start, end, value
            self.end = max(self.end, end)
        if block.last:
            self.end = 0


@contextmanager
def _new_text(path: str | PathLike[str]) -> Iterator[Any]:
    with replacing(Path(path)) as temporary, opened(temporary, fspath(path).endswith(".gz")) as text:
        yield text
