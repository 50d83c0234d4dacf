import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

DEMO = Path(__file__).parents[3] / "demos" / "vision_classification.py"


def run(*arguments):
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    return subprocess.run(
        [sys.executable, str(DEMO), *map(str, arguments)], capture_output=True, text=True, env=environment, check=False
    )


@pytest.mark.slow
def test_fast_demo(tmp_path):
    done = run("--fast", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    table = re.findall(r"^\| ([^|]+) \| ([^|]+) \| (0\.\d{4}) \| (0\.\d{4}|1\.0000) \|", done.stdout, re.MULTILINE)
    scores = {name: (parameters, float(accuracy)) for name, parameters, accuracy, _ in table}
    assert set(scores) == {"vision transformer", "small CNN", "SVC on pixels"}
    assert scores["SVC on pixels"][1] > 0.98  # its known accuracy
    assert scores["vision transformer"][0] == "136,906"
    assert scores["vision transformer"][1] > 0.5 and scores["small CNN"][1] > 0.5  # chance is .1
    assert "sha256:37d1610da92ad92a" in done.stdout and "train 1437, val 0, test 360" in done.stdout
    for picture in ("accuracy", "attention", "receptive_field"):
        with Image.open(tmp_path / f"digits_{picture}.png") as image:
            assert min(image.size) > 400


def test_demo_says_what_is_missing():
    done = run("--data", "medmnist")
    assert done.returncode == 2 and "--path: expected a MedMNIST npz file" in done.stderr
