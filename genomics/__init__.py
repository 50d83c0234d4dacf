"""Attention for DNA, RNA and protein sequences (on Biopython).

Needs the extra `genomics`. Sequences can be read, encoded, shuffled and split (`genomics.sequences`), motifs read,
written, scanned for, compared and drawn (`genomics.motifs` and its neighbours), and detectors of motifs trained.

    lightning fit --config configs/genomics/planted.yaml
"""

from core.extras import MissingExtraError

try:
    from .cnn import MotifCNN
    from .data import PlantedMotifs, SequenceClassification
    from .detection import MotifDetectionTask
    from .detector import Look, MotifDetector
    from .extract import HeadMotif, extract_motifs
    from .genome_scan import scan_fasta
    from .logos import logo, match_logo
    from .motif_compare import MotifDatabase
    from .motif_files import jaspar, read_motifs, write_motifs
    from .motif_scan import best_scores, scan
    from .motifs import Motif
    from .mutagenesis import mutate_sites
    from .refine import refine
    from .sequences import Rules, SequenceRecord, read_sequences
    from .sites import Site, read_sites, write_sites
except ModuleNotFoundError as error:
    raise MissingExtraError("genomics", error, "genomics") from error

__all__ = [
    "HeadMotif",
    "Look",
    "Motif",
    "MotifCNN",
    "MotifDatabase",
    "MotifDetectionTask",
    "MotifDetector",
    "PlantedMotifs",
    "Rules",
    "SequenceClassification",
    "SequenceRecord",
    "Site",
    "best_scores",
    "extract_motifs",
    "jaspar",
    "logo",
    "match_logo",
    "mutate_sites",
    "read_motifs",
    "read_sequences",
    "read_sites",
    "refine",
    "scan",
    "scan_fasta",
    "write_motifs",
    "write_sites",
]
