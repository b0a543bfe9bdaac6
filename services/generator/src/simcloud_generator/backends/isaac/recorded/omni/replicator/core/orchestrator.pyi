from enum import Enum

class Status(Enum):
    STOPPED = 0
    STARTED = 1
    STARTING = 2
    LOADING = 3
    STOPPING = 4
    PAUSED = 5
    INITIALIZING = 6
    STEPPING = 7
    STEPPED = 8

def step(
    rt_subframes: int = -1,
    pause_timeline: bool = True,
    delta_time: float | None = None,
    wait_for_render: bool = True,
) -> None: ...
def stop() -> None: ...
def wait_until_complete() -> None: ...
def set_capture_on_play(value: bool) -> None: ...
def get_status() -> Status: ...
