"""Sites: what a head attends to, read out as windows, motifs, calls and scans of genomes."""

from .calling import call_sites, sites_of_model
from .extract import HeadMotif, Recipe, extract_motifs, random_control
from .extract_report import draw_heads, heads_table, is_found, read_extents, write_heads
from .genome_scan import cores, judge, scan_fasta
from .mutagenesis import HeadEffect, mutate_sites, site_profile
from .peaks import Extent, find_peaks
from .records import Agreement, Site, agreement, read_sites, write_sites
from .refining import Refined, refine

__all__ = [
    "Agreement",
    "Extent",
    "HeadEffect",
    "HeadMotif",
    "Recipe",
    "Refined",
    "Site",
    "agreement",
    "call_sites",
    "cores",
    "draw_heads",
    "extract_motifs",
    "find_peaks",
    "heads_table",
    "is_found",
    "judge",
    "mutate_sites",
    "random_control",
    "read_extents",
    "read_sites",
    "refine",
    "scan_fasta",
    "site_profile",
    "sites_of_model",
    "write_heads",
    "write_sites",
]
