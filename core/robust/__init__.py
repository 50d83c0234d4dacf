"""Attention under attack: what one injected key can take, defences that bound it, and an audit of any model.

`audit` attacks and reports. `defend` puts limits of norms or cosine scores into a trained model, with numbers from
`calibrate` (clean data) or from `norm_limit_for` and `cosine_scale_for` (a bound that is wanted), derived in `bounds`.
Layers take the same defences as options: `query_norm_limit`, `key_norm_limit`, `score=scores.Cosine()` with `scale`.
"""

from .audit import audit
from .bounds import capture_bound, cosine_scale_for, logit_width, norm_limit_for, width_for
from .defences import Calibration, Defence, calibrate, defend
from .injection import Region
from .report import Audit, Finding

__all__ = [
    "Audit",
    "Calibration",
    "Defence",
    "Finding",
    "Region",
    "audit",
    "calibrate",
    "capture_bound",
    "cosine_scale_for",
    "defend",
    "logit_width",
    "norm_limit_for",
    "width_for",
]
