"""Writes deploy/fastgate.yaml: the chart with its defaults, for who applies manifests.

`python deploy/make_manifests.py` after a change of the chart; it needs helm.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

CHART = Path(__file__).with_name("chart")
MANIFESTS = Path(__file__).with_name("fastgate.yaml")
NAMESPACE = "fastgate-system"
_HEAD = f"""\
# fastgate on every node of a cluster that has the Gateway API: kubectl apply --server-side -f fastgate.yaml
# Made by deploy/make_manifests.py of the chart beside it.
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
"""
_OF_HELM = re.compile(r"^ *(app\.kubernetes\.io/managed-by|helm\.sh/chart): .*\n|^# Source: .*\n|^ *\n", re.MULTILINE)


def text(helm: str | Path = "helm") -> str:
    """Return what is in the file."""
    command = [helm, "template", "fastgate", CHART, "--namespace", NAMESPACE, "--include-crds"]
    rendered = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return _HEAD + _OF_HELM.sub("", rendered)


if __name__ == "__main__":
    MANIFESTS.write_text(text(*sys.argv[1:]))
