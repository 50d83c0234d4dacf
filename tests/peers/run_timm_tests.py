"""Run timm's own tests/test_models.py for our models.

    git clone --depth 1 https://github.com/huggingface/pytorch-image-models /somewhere/timm
    python tests/peers/run_timm_tests.py /somewhere/timm
    python tests/peers/run_timm_tests.py /somewhere/timm --models vit_suite_tiny -- -x

Only the checkout's folder `tests` is used; the timm under test is the installed one. The tests are collected as they
are, unchanged; our models are registered by the plugin beside this script.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description="Run timm's own tests/test_models.py for our models.")
    parser.add_argument("checkout", type=Path, help="folder of a checkout of huggingface/pytorch-image-models")
    parser.add_argument("--models", default="vit_suite", help="run the tests whose model's name holds this")
    parser.add_argument("options", nargs="*", help="for pytest, after --")
    arguments = parser.parse_args()
    tests = arguments.checkout / "tests" / "test_models.py"
    if not tests.is_file():
        parser.error(f"checkout: expected a folder with tests/test_models.py, got {arguments.checkout}")
    here = Path(__file__).resolve().parent
    paths = [str(here), str(here.parent.parent), os.environ.get("PYTHONPATH", "")]
    marks = ("base", "cfg", "torchscript", "features", "fxforward", "fxbackward", "timeout")
    configuration = ["-c", os.devnull, "--rootdir", str(arguments.checkout), "-p", "no:cacheprovider"]
    ignored = [f"ignore:Unknown pytest.mark.{mark}:pytest.PytestUnknownMarkWarning" for mark in marks]
    if importlib.util.find_spec("pytest_timeout") is None:
        print("pytest-timeout is not installed: timm's time limits are not enforced", flush=True)
    command = [sys.executable, "-m", "pytest", "-p", "timm_registry_plugin", *configuration, str(tests)]
    command += [part for warning in ignored for part in ("-W", warning)]
    command += ["-k", arguments.models, "-q", "-rs", *arguments.options]
    return subprocess.call(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))})


if __name__ == "__main__":
    sys.exit(main())
