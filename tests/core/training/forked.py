"""Runs the command line once per job, each in a process forked from one that has imported everything.

Reads a JSON list of {"args": [...], "env": {...}} from stdin and writes the list of exit statuses (negative: the
signal that ended it) to stdout; the jobs' own output goes to the file named by "log".
"""

import json
import os
import sys
import traceback

import tests.core.training.toy  # noqa: F401
from core.training.cli import main


def run(job: dict) -> int:
    pid = os.fork()
    if pid == 0:
        log = os.open(job["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(job.get("env", {}))
        status = 1
        try:
            main(job["args"])
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    print(json.dumps([run(job) for job in json.load(sys.stdin)]))
