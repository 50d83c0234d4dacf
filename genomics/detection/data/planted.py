"""Real motifs planted in random background: data whose truth is known."""

from typing import Any, ClassVar

import numpy as np

from core.training import hash_arrays

from ...motifs.lookup import find_motifs
from ...motifs.matrices import Motif
from .base import Loaded, SequenceDataModule
from .batch import Sequences
from .planting import PlantedSite, background, plant, transition_matrix

DEFAULT_MOTIFS = (
    "MA0139.1", "MA0095.2", "MA0526.1", "MA0809.1", "MA0088.2",
    "MA0060.3", "MA0138.2", "MA0062.3", "MA0080.5", "MA0099.3",
)  # fmt: skip
"""JASPAR's CTCF, YY1, USF2, TEAD4, ZNF143, NFYA, REST, GABPA, SPI1 and FOS::JUN."""


class PlantedMotifsData(SequenceDataModule):
    """Random sequences with sites of known motifs, and dinucleotide shuffles of them as negatives.

    The motifs are ten matrices of JASPAR (extra `data`), or those that you name; all of them are used, each positive
    has sites of some. Which letters are sites is kept in `truth` for the comparison with what was found (nCC), and
    enters nothing else. See `genomics.detection.data.planting` for the background and the sites.

    Args:
        motifs: A motif file, one JASPAR id, or a list of ids; None takes `DEFAULT_MOTIFS`.
        positives: Number of positive sequences, over all parts.
        sequence_length: Letters of each.
        sites: Fewest and most sites of a positive.
        spacing: Least number of letters between two sites.
        both_strands: Sites on both strands, or on the given one only.
        noise: Share of a site's letters that are random.
        order: Of the background's Markov chain: 0 (independent letters) or 1 (dinucleotides).
        gc: Of the background, C and G together.
        cpg: With order 1, how frequent CG is beside independent letters.
        data_seed: Of the sequences.
        options: See `SequenceDataModule`; its `motif` is what was planted where it is None.

    Raises:
        ValueError: A number is out of range, or the sites do not fit.
        MissingExtraError: pyjaspar is not installed.
    """

    licence = "the matrices: JASPAR, CC BY 4.0"
    source = "generated; matrices of JASPAR CORE 2026, inside pyjaspar"

    def __init__(
        self,
        motifs: str | list[str] | None = None,
        positives: int = 5000,
        sequence_length: int = 101,
        sites: tuple[int, int] = (1, 3),
        spacing: int = 6,
        both_strands: bool = True,
        noise: float = 0.0,
        order: int = 1,
        gc: float = 0.42,
        cpg: float = 0.25,
        data_seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if order not in (0, 1):
            raise ValueError(f"order: expected 0 or 1, got {order}")
        for name, value in (("positives", positives), ("sequence_length", sequence_length)):
            if value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        self.motifs, self.positives, self.sequence_length = motifs, positives, sequence_length
        self.sites, self.spacing, self.both_strands, self.noise = sites, spacing, both_strands, noise
        self.order, self.gc, self.cpg, self.data_seed = order, gc, cpg, data_seed
        self.planted: list[Motif] | None = None
        self.truth: list[PlantedSite] | None = None
        self._by_sequence: dict[int, list[PlantedSite]] = {}

    def load(self) -> Loaded:
        """Draw the background and plant the sites."""
        self.planted = find_motifs(list(DEFAULT_MOTIFS) if self.motifs is None else self.motifs)
        generator = np.random.default_rng(self.data_seed)
        transitions = transition_matrix(self.gc, self.cpg if self.order else 1.0)
        letters = background(self.positives, self.sequence_length, transitions, generator)
        letters, self.truth = plant(
            letters,
            self.planted,
            generator,
            sites=(self.sites[0], self.sites[1]),
            spacing=self.spacing,
            both_strands=self.both_strands,
            noise=self.noise,
        )
        for site in self.truth:
            self._by_sequence.setdefault(site.sequence, []).append(site)
        names = [f"planted{number}" for number in range(self.positives)]
        return Loaded(Sequences(names, letters, np.ones(self.positives, np.int64), np.arange(self.positives)))

    def sites_of(self, index: int) -> list[PlantedSite]:
        """What was planted in a sequence, by its number; nothing in a shuffle.

        Args:
            index: Number in `whole`, as batches have it.
        """
        self.ready()
        return self._by_sequence.get(index, [])

    def fingerprint(self) -> str:
        """A hash of all positives."""
        letters = "".join(self.ready().whole.letters)
        return hash_arrays(np.frombuffer(letters.encode("ascii"), dtype=np.uint8))

    def split_words(self) -> str:
        """By what the parts are kept apart."""
        return "positives drawn independently"

    def known_motifs(self) -> list[Motif]:
        """What was planted, unless `motif` names others."""
        self.ready()
        return super().known_motifs() or list(self.planted or [])


class PlantedMotifs(PlantedMotifsData):
    """Former name of `PlantedMotifsData`."""

    former: ClassVar[bool] = True
