"""A Dask cluster on this computer: a scheduler in this process, and worker processes that end with it.

Dask starts each worker process under a *nanny*, an object that starts the process again if it dies. If this process is
killed, a pipe closes in each worker process, and the worker process ends. The resource tracker (below) then writes a
warning about what it cleans up.

After the cluster is closed, two helpers remain until the end of the program, and neither does any work: the resource
tracker, one small process that `multiprocessing` starts with the first worker process, and one idle thread named
"Dask-Offload", which Dask uses to pack and unpack large messages.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from helpers.services.sandbox import check_whole

if TYPE_CHECKING:
    from distributed import LocalCluster

HOST = "127.0.0.1"
# The code that each worker process runs when it starts. Ctrl-C and the Stop button of Jupyter send SIGINT to this
# process and to the worker processes, and a worker process that gets SIGINT ends for good. Dask's `silence_logs` does
# not reach the worker processes.
QUIET = """
import logging, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
logging.getLogger("distributed").setLevel(logging.CRITICAL)
"""


@contextmanager
def dask_cluster(processes: int = 2) -> Iterator["LocalCluster"]:
    """Start a `LocalCluster` with one thread in each of its `processes`, and close it at the end of the block.

        with dask_cluster(processes=2) as cluster, Client(cluster) as client:
            client.submit(function, job).result()

    Every socket listens on 127.0.0.1 only. Nothing is written to stderr, not even if a worker process is killed.
    A script needs a main guard (`if __name__ == "__main__":`), because each worker process imports the script.

    Raises TypeError or ValueError if `processes` is not a whole number from 1 up.
    """
    check_whole("processes", processes)
    import dask.config
    from distributed import LocalCluster

    with (
        tempfile.TemporaryDirectory(prefix="dask-", ignore_cleanup_errors=True) as folder,
        dask.config.set(
            {
                # Else a process that is dead 15 s after an earlier death is given up, although its nanny starts it
                # again. On a busy computer, two kills would be enough.
                "distributed.deploy.lost-worker-timeout": "1 hour",
                "temporary-directory": folder,  # else Dask makes a folder that it never removes
            }
        ),
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=processes,
            threads_per_worker=1,
            host=HOST,
            # No dashboard. Dask's scheduler opens an HTTP port all the same; the default port may be in use.
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": f"{HOST}:0"},
            memory_limit=None,  # Else a nanny kills a worker process that uses more than its share of the memory.
            local_directory=folder,
            preload=[QUIET],
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster
