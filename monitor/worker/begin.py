"""`python -m monitor.worker.begin MODULE ...`: a module as a process, which looks for nothing while it imports.

Until `spare_what_stays`: before that a look was a fifth of the processor time of a start.
"""

import gc
import runpy
import sys

if __name__ == "__main__":
    gc.disable()
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
