"""What a model's attention does: captured while it runs, measured and drawn. Works on models as they are."""

from .capture import capture
from .records import Capture, Record
from .watch import CaptureError, CaptureWarning

__all__ = ["Capture", "CaptureError", "CaptureWarning", "Record", "capture"]
