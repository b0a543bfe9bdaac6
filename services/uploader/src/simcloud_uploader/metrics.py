"""The uploader's metrics, declared once."""

from __future__ import annotations

from typing import Final

from simcloud.telemetry.names import Metric, declare

STREAMS: Final = declare(
    Metric(
        name="simcloud_uploader_open_streams",
        kind="gauge",
        help="Shards that are being uploaded now.",
    )
)
CREDIT_WAITING: Final = declare(
    Metric(
        name="simcloud_uploader_streams_waiting_for_credit",
        kind="gauge",
        help="Streams with no credit at all, since the byte budget is spent.",
    )
)
BYTES_RECEIVED: Final = declare(
    Metric(
        name="simcloud_uploader_received_bytes",
        kind="counter",
        help="Payload of frames received: records and layers.",
    )
)
BYTES_STORED: Final = declare(
    Metric(
        name="simcloud_uploader_stored_bytes",
        kind="counter",
        help="Bytes of parts that S3 has taken.",
    )
)
PARTS_STORED: Final = declare(
    Metric(name="simcloud_uploader_stored_parts", kind="counter", help="Parts that S3 has taken.")
)
PART_SECONDS: Final = declare(
    Metric(
        name="simcloud_uploader_part_duration_seconds",
        kind="histogram",
        help="Time from a part's turn to S3's answer, retries included.",
    )
)
PART_RETRIES: Final = declare(
    Metric(
        name="simcloud_uploader_part_retries",
        kind="counter",
        help="UploadPart calls tried again, by S3's reason.",
        labels=("reason",),
    )
)
UPLOAD_LIMIT: Final = declare(
    Metric(
        name="simcloud_uploader_upload_concurrency",
        kind="gauge",
        help="Parts that may be on their way at once; falls when S3 says SlowDown.",
    )
)
RESTARTS: Final = declare(
    Metric(
        name="simcloud_uploader_shard_restarts",
        kind="counter",
        help="Uploads that S3 lost or refused, begun again from the shard's first frame.",
        labels=("reason",),
    )
)
TAKEOVERS: Final = declare(
    Metric(
        name="simcloud_uploader_takeovers",
        kind="counter",
        help="Epochs after the first: shards gone on with after another stream.",
        labels=("upload",),
    )
)
RESOLVED: Final = declare(
    Metric(
        name="simcloud_uploader_ambiguous_completes",
        kind="counter",
        help="CompleteMultipartUpload without a clear answer, by what HEAD said.",
        labels=("verdict",),
    )
)
COMMITTED: Final = declare(
    Metric(
        name="simcloud_uploader_committed_shards",
        kind="counter",
        help="Shards made visible by this process.",
    )
)
SWEPT: Final = declare(
    Metric(
        name="simcloud_uploader_swept",
        kind="counter",
        help="Uploads aborted and epoch objects deleted by the sweep.",
        labels=("what",),
    )
)
FACTS: Final = declare(
    Metric(
        name="simcloud_uploader_facts",
        kind="counter",
        help="Specs, plans, manifests and index footers that looks at runs needed: known already, "
        "read from S3, or dropped for want of room.",
        labels=("outcome",),
    )
)
FACT_BYTES: Final = declare(
    Metric(
        name="simcloud_uploader_fact_bytes",
        kind="gauge",
        help="Memory for what looks at runs have read, about.",
    )
)
