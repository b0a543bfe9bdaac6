"""Several processes of one service, told to stop while they are being started."""

from __future__ import annotations

import subprocess
import sys

# What `supervise` runs is its own command line: the same program is supervisor and supervised.
_PROGRAM = """
import os, signal, sys
from pathlib import Path

if "SIMCLOUD_SUPERVISOR_FD" in os.environ:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Path(sys.argv[sys.argv.index("--port-file") + 1]).write_text("{}")
    os.read(int(os.environ["SIMCLOUD_SUPERVISOR_FD"]), 1)
    sys.exit("the supervisor died")

from simcloud.rpc import processes
from simcloud.rpc.settings import ServerSettings

begin = processes._started

def begin_and_be_told_to_stop(settings, listen, folder, number, alive):
    child = begin(settings, listen, folder, number, alive)
    while not processes._port_file(folder, number).exists():
        processes._pause([child])
    print(number, flush=True)
    if number == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    return child

processes._started = begin_and_be_told_to_stop
sys.exit(processes.supervise(ServerSettings(listen="127.0.0.1:0", drain_s=300), 3))
"""


def test_a_process_that_was_being_started_when_the_signal_came_is_told_and_no_other_is_begun() -> (
    None
):
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    # Those not told would serve on for the whole time of the drain, and be killed then.
    assert (done.returncode, done.stdout.split()) == (0, ["0", "1"]), done.stderr
