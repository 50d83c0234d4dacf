"""Attention for DNA, RNA and protein sequences (on Biopython).

Needs the extra `genomics`. Sequences can be read, encoded, shuffled and split (`genomics.sequences`), motifs read,
written, scanned for, compared and drawn (`genomics.motifs` and its neighbours), and detectors of motifs trained.

    attention-suite fit --config configs/genomics/planted.yaml
"""

from attention_suite import check_core

check_core(__name__)

from core.extras import MissingExtraError, former_modules  # noqa: E402

try:
    from .detection.data import (
        PlantedMotifs,
        PlantedMotifsData,
        SequenceArrayData,
        SequenceBatch,
        SequenceClassification,
        SequenceClassificationData,
        SequenceDataModule,
    )
    from .detection.task import MotifDetectionTask
    from .detector.cnn import MotifCNN
    from .detector.model import Look, MotifDetector
    from .motifs.comparing import MotifDatabase
    from .motifs.files import jaspar, read_motifs, write_motifs
    from .motifs.logos import logo, match_logo
    from .motifs.matrices import Motif
    from .motifs.scanning import best_scores, scan
    from .sequences import Rules, SequenceRecord, read_sequences
    from .sites.extract import HeadMotif, extract_motifs
    from .sites.genome_scan import scan_fasta
    from .sites.mutagenesis import mutate_sites
    from .sites.records import Site, read_sites, write_sites
    from .sites.refining import refine
except ModuleNotFoundError as error:
    raise MissingExtraError("genomics", error, "genomics") from error

FORMER_MODULES = {
    "calling": "genomics.sites.calling",
    "extract": "genomics.sites.extract",
    "logos": "genomics.motifs.logos",
    "motif_compare": "genomics.motifs.comparing",
    "motif_files": "genomics.motifs.files",
    "motif_scan": "genomics.motifs.scanning",
    "mutagenesis": "genomics.sites.mutagenesis",
    "site_model": "genomics.motifs.site_model",
}
"""Former name -> module that is reached by it, as `genomics.motif_scan.scan`."""

__getattr__ = former_modules(__name__, FORMER_MODULES)

__all__ = [
    "HeadMotif",
    "Look",
    "Motif",
    "MotifCNN",
    "MotifDatabase",
    "MotifDetectionTask",
    "MotifDetector",
    "PlantedMotifs",
    "PlantedMotifsData",
    "Rules",
    "SequenceArrayData",
    "SequenceBatch",
    "SequenceClassification",
    "SequenceClassificationData",
    "SequenceDataModule",
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
