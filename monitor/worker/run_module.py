"""Run a module as a process, without garbage collection during its imports.

Usage: `python -m monitor.worker.run_module MODULE [ARGUMENT...]`

Collections took a fifth of the processor time of a start. The process enables the garbage collector again with
`freeze_startup_objects`.
"""

import gc
import runpy
import sys

if __name__ == "__main__":
    gc.disable()
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
