"""For tests that interrupt a process of the command line."""

from __future__ import annotations

import signal


def heed_interrupts() -> None:
    """For `preexec_fn`: a shell starts what it runs in the background, a whole test run too, deaf to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
