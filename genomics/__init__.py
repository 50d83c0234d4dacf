"""Attention for DNA, RNA and protein sequences (on Biopython).

Needs the extra `genomics`. Sequences can be read, encoded, shuffled and split (`genomics.sequences`), motifs read,
written, scanned for, compared and drawn (`genomics.motifs` and its neighbours). There is no task, no model and no data
module to train yet.
"""

from core.extras import MissingExtraError

try:
    from .logos import logo, match_logo
    from .motif_compare import MotifDatabase
    from .motif_files import jaspar, read_motifs, write_motifs
    from .motif_scan import best_scores, scan
    from .motifs import Motif
    from .sequences import Rules, SequenceRecord, read_sequences
except ModuleNotFoundError as error:
    raise MissingExtraError("genomics", error, "genomics") from error

__all__ = [
    "Motif",
    "MotifDatabase",
    "Rules",
    "SequenceRecord",
    "best_scores",
    "jaspar",
    "logo",
    "match_logo",
    "read_motifs",
    "read_sequences",
    "scan",
    "write_motifs",
]
