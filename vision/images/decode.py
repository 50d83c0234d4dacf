"""From an image file to numbers in [0, 1], exactly, and a plain error when that is not possible.

What is done with each kind of file:

* 8-bit grey, RGB: value / 255. 1-bit: 0 or 1. Palette: its colours (8 bit each).
* 16-bit grey, RGB and their alpha variants: value / 65535, never cut down to 8 bits. 16-bit colour PNGs are read by
  torchvision, since Pillow drops their low bytes.
* 32-bit integer grey: accepted when all values lie in 0 .. 65535 (some writers store 16 bits so), else refused.
  Floating-point grey: accepted when all values lie in [0, 1], else refused: nobody knows its white.
* Alpha (RGBA, LA, transparent palette): composited over the background, alpha * colour + (1 - alpha) * background.
* CMYK, YCbCr, Lab, HSV: converted to 8-bit RGB by Pillow.
* One channel wanted, colour given: luma 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601). Three wanted, grey given: the grey
  three times.
* EXIF orientation is applied. A second picture in the same file (animation, pages) is refused, except in MPO files of
  cameras, whose first picture is the photo.
"""

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch.nn import functional as F
from torchvision.io import ImageReadMode, decode_png

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Endings that count as images when a folder is listed; case does not matter."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in one grey value (ITU-R BT.601)."""

# EXIF orientation -> (mirror left-right, quarter turns counter-clockwise after it), for tensors (C, H, W)
_ORIENTATIONS = {
    1: (False, 0),
    2: (True, 0),
    3: (False, 2),
    4: (True, 2),
    5: (True, 1),
    6: (False, 3),
    7: (True, 3),
    8: (False, 1),
}


def read_image(path: str | Path, *, channels: int = 3, background: float = 1.0) -> torch.Tensor:
    """Read one image file.

    Args:
        path: The file.
        channels: 1 (grey) or 3 (RGB).
        background: Grey value in [0, 1] that shows through transparent pixels.

    Shapes:
        answer: (channels, H, W), float32 in [0, 1]

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file does not decode, holds several pictures, or has values whose range is unknown; the message
            names the file.
    """
    path = Path(path)
    if channels not in (1, 3):
        raise ValueError(f"channels: expected 1 or 3, got {channels}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected an image file, but there is none")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about odd metadata of pictures that decode
            with Image.open(path) as image:
                raw_mode = str(image.tile[0][3]) if image.tile else ""  # reading anything else may load and clear it
                orientation = image.getexif().get(0x0112, 1)
                pixels = _pixels(image, raw_mode, path)
    except (UnidentifiedImageError, OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: expected an image that decodes, got: {error}") from error
    pixels = _orient(pixels, orientation)
    return _to_channels(pixels, channels, background)


def _pixels(image: Image.Image, raw_mode: str, path: Path) -> torch.Tensor:
    """All samples of the file scaled to [0, 1], (C, H, W) with C in 1, 2, 3, 4 (an even C ends with alpha)."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise ValueError(f"{path}: expected one picture, got {frames} (an animation or pages)")
    if image.format == "PNG" and "16B" in raw_mode and image.mode in ("RGB", "RGBA", "LA"):
        image.load()  # Pillow checks the whole file, torchvision reads all 16 bits
        data = torch.from_numpy(np.fromfile(path, dtype=np.uint8))
        return decode_png(data, mode=ImageReadMode.UNCHANGED).to(torch.float32) / 65535
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
    elif image.mode in ("L", "RGB") and "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBX"):
        image = image.convert("RGB")
    array = np.asarray(image)
    if image.mode == "1":
        array = array.astype(np.float32)
    elif image.mode in ("L", "LA", "RGB", "RGBA"):
        array = array.astype(np.float32) / 255
    elif image.mode.startswith("I"):
        if array.min() < 0 or array.max() > 65535:
            raise ValueError(f"{path}: expected integers in 0 .. 65535, got {array.min()} .. {array.max()}")
        array = array.astype(np.float32) / 65535
    elif image.mode == "F":
        if not (array.min() >= 0 and array.max() <= 1):
            raise ValueError(f"{path}: expected floats in [0, 1], got {array.min():.4g} .. {array.max():.4g}")
    else:
        raise ValueError(f"{path}: expected grey or colour, got an image of Pillow's mode {image.mode}")
    tensor = torch.from_numpy(np.array(array, dtype=np.float32))
    return tensor[None] if tensor.ndim == 2 else tensor.permute(2, 0, 1).contiguous()


def _orient(pixels: torch.Tensor, orientation: int) -> torch.Tensor:
    mirrored, turns = _ORIENTATIONS.get(orientation, (False, 0))
    if mirrored:
        pixels = pixels.flip(-1)
    return torch.rot90(pixels, turns, (-2, -1)).contiguous() if turns else pixels


def _to_channels(pixels: torch.Tensor, channels: int, background: float) -> torch.Tensor:
    if pixels.shape[0] in (2, 4):
        colour, alpha = pixels[:-1], pixels[-1:]
        pixels = alpha * colour + (1 - alpha) * background
    if pixels.shape[0] == channels:
        return pixels
    if channels == 3:
        return pixels.expand(3, -1, -1).contiguous()
    return (pixels * torch.tensor(LUMA)[:, None, None]).sum(0, keepdim=True)


def fit_size(pixels: torch.Tensor, size: int, how: str = "crop") -> torch.Tensor:
    """Bring an image to size x size by antialiased bilinear interpolation.

    Args:
        pixels: One image.
        size: Side of the answer, in pixels.
        how: "crop" resizes the shorter side to `size` and cuts the middle out of the longer; "squash" resizes both;
            "pad" resizes the longer side and adds black on both ends of the shorter.

    Shapes:
        pixels: (C, H, W)
        answer: (C, size, size)

    Raises:
        ValueError: `how` is none of the three.
    """
    height, width = pixels.shape[-2:]
    if how not in ("crop", "squash", "pad"):
        raise ValueError(f"resize: expected 'crop', 'squash' or 'pad', got {how!r}")
    if how == "squash":
        target = (size, size)
    else:
        scale = size / (min(height, width) if how == "crop" else max(height, width))
        target = (max(1, round(height * scale)), max(1, round(width * scale)))
    if target != (height, width):
        pixels = F.interpolate(pixels[None], size=target, mode="bilinear", antialias=True, align_corners=False)[0]
        pixels = pixels.clamp(0, 1)
    top, left = (target[0] - size) // 2, (target[1] - size) // 2
    if how == "pad":
        return F.pad(pixels, (-left, size - target[1] + left, -top, size - target[0] + top))
    return pixels[:, top : top + size, left : left + size].contiguous()
