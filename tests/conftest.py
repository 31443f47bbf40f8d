"""What all tests share."""

import os
import signal

from hypothesis import settings

# A deadline in milliseconds is a test of the machine's load, not of the code.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # as in a run's kernels

# Where the tests run in the background of a script, Ctrl-C is ignored, and so it would be by the commands that they stop with it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
