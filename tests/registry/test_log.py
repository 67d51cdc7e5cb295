"""The registry's log holds our own lines alone: nothing of a request is written beside them (promise I9)."""

from __future__ import annotations

import subprocess
import sys

_BROKEN_FORM = """
from registry import forms, log

log.configure("registry")
head = b'content-disposition: form-data; name="a"\\r\\ncontent-transfer-encoding: +905550000001'
part = b"--x\\r\\n" + head + b"\\r\\n\\r\\n1\\r\\n--x--"
assert forms.wish("multipart/form-data; boundary=x", part) is None
assert forms.wish("multipart/form-data; boundary=y", part) is None
log.logger.info("the_end")
"""


def test_a_broken_form_leaves_nothing_in_the_log() -> None:
    """Its parser has a log of its own, which Python writes to standard error unless it is told not to."""
    done = subprocess.run([sys.executable, "-c", _BROKEN_FORM], capture_output=True, text=True, check=True, timeout=120)
    (line,) = done.stderr.splitlines()
    assert '"event": "the_end"' in line
