"""Writes deploy/fastgate.yaml and deploy/fastgate-controller.yaml: the chart in its modes, for who applies manifests.

`python deploy/make_manifests.py` after a change of the chart; it needs helm.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

CHART = Path(__file__).with_name("chart")
MODES = {"node": "fastgate.yaml", "controller": "fastgate-controller.yaml"}
NAMESPACE = "fastgate-system"
_ABOUT = {
    "node": "fastgate on every node of a cluster that has the Gateway API",
    "controller": "fastgate's controller, for a cluster that has the Gateway API",
}
_HEAD = f"""\
# {{about}}: kubectl apply --server-side -f {{file}}
# Made by deploy/make_manifests.py of the chart beside it.
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
"""
_OF_HELM = re.compile(r"^ *(app\.kubernetes\.io/managed-by|helm\.sh/chart): .*\n|^# Source: .*\n|^ *\n", re.MULTILINE)


def path(mode: str) -> Path:
    """Return the file of a mode."""
    return Path(__file__).with_name(MODES[mode])


def text(mode: str, helm: str | Path = "helm") -> str:
    """Return what is in it."""
    command = [helm, "template", "fastgate", CHART, "--namespace", NAMESPACE, "--include-crds", "--set", f"mode={mode}"]
    rendered = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return _HEAD.format(about=_ABOUT[mode], file=MODES[mode]) + _OF_HELM.sub("", rendered)


if __name__ == "__main__":
    for each in MODES:
        path(each).write_text(text(each, *sys.argv[1:]))
