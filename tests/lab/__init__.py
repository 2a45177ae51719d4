# SPDX-License-Identifier: Apache-2.0
"""Network-namespace labs for xdp-lb; see README.md."""

from .lab import Lab, Node, Pod
from .namespace import CommandFailed, Namespace

__all__ = ["CommandFailed", "Lab", "Namespace", "Node", "Pod"]
