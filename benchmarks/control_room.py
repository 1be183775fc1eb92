"""The CPU time of a control room that runs: the pool with its jobs, the room that watches it, and the widget's frames.

The contenders take turns in a kernel like that of a notebook, so that the frames are really sent. "pool" is a
`DynamicPool` whose jobs wait 0.1 s each, as in the room. "room" is a `Room` that nobody sees. "widget" is a
`ControlRoom`, which sends ten frames per second. Measured is the CPU time of the kernel, with the jobs of a second,
divided by the elapsed time.
"""

import os
import textwrap
from pathlib import Path

import pandas as pd
from jupyter_client.manager import start_new_kernel

from benchmarks.report import write

ROOT = Path(__file__).parents[1]
SECONDS, ROUNDS, RATES = 10.0, 3, (30, 100)
CONTENDERS = {
    "pool": """
        from helpers.control_room.arrivals import Arrivals
        from helpers.pools import DynamicPool
        bounds = {{"min_workers": {workers}, "max_workers": {workers}, "queue_size": 60}}
        with DynamicPool(time.sleep, **bounds, on_result=lambda result: None) as pool:
            arrivals, share = Arrivals({rate}, seed=1), start()
            end = time.monotonic() + {seconds}
            while (now := time.monotonic()) < end:
                for _ in range(arrivals.due(now)):
                    pool.try_submit(0.1)
                time.sleep(arrivals.wait(now, 0.1))
            print(share())
    """,
    "room": """
        from helpers.control_room import Room
        room = Room(workers={workers}, rate={rate}, seed=1)
        room.start()
        share = start()
        time.sleep({seconds})
        print(share())
        room.close()
    """,
    "widget": """
        from helpers.control_room import ControlRoom
        control = ControlRoom(workers={workers}, rate={rate}, seed=1)
        control.room.start()
        share = start()
        time.sleep({seconds})
        print(share())
        control.close()
    """,
}
START = """
import time
def start():
    cpu, elapsed = time.process_time(), time.monotonic()
    return lambda: 100 * (time.process_time() - cpu) / (time.monotonic() - elapsed)
"""


def measure(name: str, rate: int) -> float:
    """Return the CPU time that one contender uses, in percent of one core, at that many jobs per second."""
    manager, client = start_new_kernel(env=os.environ | {"PYTHONPATH": str(ROOT)})
    said: list[str] = []
    try:
        numbers = {"rate": rate, "workers": rate // 5, "seconds": SECONDS}
        code = START + textwrap.dedent(CONTENDERS[name].format(**numbers))
        client.execute_interactive(code, output_hook=lambda message: said.append(message["content"].get("text", "")))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return float("".join(said))


def run() -> None:
    """Measure, write the CSV file, and update the page."""
    rows = []
    for number in range(1, ROUNDS + 1):
        for rate in RATES:
            for name in CONTENDERS:
                rows.append({"round": number, "jobs_s": rate, "contender": name, "percent": measure(name, rate)})
                print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    shown = table.pivot_table(index="contender", columns="jobs_s", values="percent", aggfunc="median", sort=False)
    write("control_room", table, shown.round(2).rename(columns=lambda rate: f"percent of a core, {rate} jobs/s"))
