"""Why an endpoint failed, in SageMaker's words, and what mends it."""

from __future__ import annotations

import re
from typing import Final

_MENDS: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern, re.I), mend)
    for pattern, mend in (
        (
            r"ping health check",
            "the container did not answer GET /ping with 200 in time: read its log, and give it "
            "longer by --startup-s if it was still loading",
        ),
        (
            r"unable to (?:provision|locate)|insufficient.*capacity|capacity error",
            "AWS has no such instance free: another --instance-type, or try again later",
        ),
        (
            r"CannotStartContainer|exec format",
            "the image does not start: it must be linux/amd64 (arm64 for Graviton instances) and "
            "take the argument `serve`",
        ),
        (
            r"images included|image.*(?:does not exist|not found|manifest)|\bECR\b|repository",
            "the image can't be pulled: it must be in ECR of this region under that tag, and the "
            "role needs ecr:GetAuthorizationToken, ecr:BatchGetImage, ecr:GetDownloadUrlForLayer",
        ),
        (
            r"model data|model artifact|s3://|s3 (?:object|access)",
            "the role needs s3:GetObject on the model's object and s3:ListBucket on its bucket, "
            "which must be in this region",
        ),
        (
            r"out of memory|memory",
            "the instance or --memory-mb is too small for the model",
        ),
        (r"alarm", "an alarm sounded during the update: look at it before the next one"),
        (
            r"assume.*role|not authorized|AccessDenied",
            "the role's policy or trust lacks something: sagemaker.amazonaws.com must be allowed "
            "to take it",
        ),
    )
)


def mend_of(reason: str, *, endpoint: str) -> str:
    """What to do about SageMaker's ``FailureReason``."""
    found = next((mend for pattern, mend in _MENDS if pattern.search(reason)), "")
    log = f"the container's log is /aws/sagemaker/Endpoints/{endpoint} in CloudWatch"
    return f"{found}; {log}" if found else log
