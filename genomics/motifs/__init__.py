"""Motifs: matrices, their files, scanning, comparing, drawing, and the chance of a site at each base."""

from .comparing import Match, MotifDatabase, correlation
from .files import jaspar, read_motifs, write_motifs
from .logos import draw_logo, logo, match_logo
from .lookup import find_motifs
from .matrices import Motif, letter_codes
from .mixture import part_windows
from .scanning import best_scores, scan
from .site_model import (
    SiteModel,
    background_chain,
    decode,
    lengths_of,
    log_ratios,
    padded_codes,
    posteriors,
    stationary,
)

__all__ = [
    "Match",
    "Motif",
    "MotifDatabase",
    "SiteModel",
    "background_chain",
    "best_scores",
    "correlation",
    "decode",
    "draw_logo",
    "find_motifs",
    "jaspar",
    "lengths_of",
    "letter_codes",
    "log_ratios",
    "logo",
    "match_logo",
    "padded_codes",
    "part_windows",
    "posteriors",
    "read_motifs",
    "scan",
    "stationary",
    "write_motifs",
]
