"""What a plugin process writes to its standard error."""

import subprocess
import sys

LINES = """
import logging
from fastgate.plugins.process import log_to_stderr
log_to_stderr()
logging.getLogger("httpx").info("a URL with a token")
logging.getLogger("httpx").warning("late")
logging.getLogger("fastgate.filter").debug("detail")
logging.getLogger("fastgate.filter").info("started")
"""


def test_libraries_only_warn():
    done = subprocess.run([sys.executable, "-c", LINES], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["fastgate-plugin: late", "fastgate-plugin: started"]
