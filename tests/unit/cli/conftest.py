"""What tests of the command share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.aws_stubs import PaperAws


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Iterator[PaperAws]:
    """AWS on paper, for the CLI in this process."""
    # boto3 is imported by those who ask for it alone.
    from support.aws_stubs import paper_aws

    with paper_aws(monkeypatch) as aws:
        yield aws
