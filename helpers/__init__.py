"""The package behind the worker-pool notebooks.

It has four layers, and imports only go down: `charts` -> `measure` -> `pools`, and beside them `services`, which
imports nothing of ours. `helpers.pools` needs the standard library only (`pools.image` also needs Pillow).
`control_room`, above them, is a pool to run by hand and to watch.
"""

__version__ = "0.2.0"
