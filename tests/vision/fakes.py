"""Tiny data sets made on the spot."""

import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def medmnist_arrays(train=24, val=8, test=8, size=28, classes=2, channels=1, seed=0):
    """Arrays named as MedMNIST names them; the class shows in the brightness."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for part, n in (("train", train), ("val", val), ("test", test)):
        labels = (np.arange(n) % classes)[:, None].astype(np.uint8)
        shape = (n, size, size) if channels == 1 else (n, size, size, channels)
        noise = rng.integers(0, 60, shape)
        bright = (labels.reshape(-1, *[1] * (len(shape) - 1)) * (150 // max(1, classes - 1))).astype(int)
        arrays[f"{part}_images"] = (noise + bright).astype(np.uint8)
        arrays[f"{part}_labels"] = labels
    return arrays


def write_medmnist(path: Path, **options):
    np.savez(path, **medmnist_arrays(**options))
    return path


def write_folder(root: Path, classes=("cat", "dog"), each=10, size=(12, 12), mode="RGB", seed=0):
    """Images in class folders; the class shows in the brightness."""
    rng = np.random.default_rng(seed)
    for k, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for n in range(each):
            pixels = rng.integers(0, 80, (size[1], size[0], 3)) + k * 100
            Image.fromarray(pixels.astype(np.uint8)).convert(mode).save(root / name / f"{n:03d}.png")
    return root


def png16(samples: np.ndarray) -> bytes:
    """A 16-bit PNG, written by hand: samples (H, W, C) with C = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA."""
    height, width, channels = samples.shape
    rows = b"".join(b"\0" + samples[row].astype(">u2").tobytes() for row in range(height))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def write_cifar10(root: Path, each=8, seed=0):
    """Files of CIFAR-10's layout (their checksums are not those that torchvision knows)."""
    rng = np.random.default_rng(seed)
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]:
        labels = [k % 10 for k in range(each * 10 // 5)]
        entry = {"data": rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8), "labels": labels}
        (folder / name).write_bytes(pickle.dumps(entry))
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    return root
