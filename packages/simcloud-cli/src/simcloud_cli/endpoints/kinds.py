"""Words that options take; a module of its own, so that the command tree loads nothing heavy."""

from __future__ import annotations

from typing import Literal

Kind = Literal["realtime", "serverless", "async", "component"]
"""How an endpoint runs: standing instances, none at all, instances behind a queue in S3, or
inference components, of which there may be none."""

PackageFormat = Literal["sagemaker", "triton"]
"""Whose layout: our container's and the inference toolkit's, or Triton's model repository."""

Strategy = Literal["blue-green", "rolling"]
"""How an endpoint is updated: by a second fleet, or a batch of instances or copies at a time."""

Shift = Literal["canary", "linear", "all-at-once"]
"""How traffic goes over to the second fleet of a blue/green update."""
