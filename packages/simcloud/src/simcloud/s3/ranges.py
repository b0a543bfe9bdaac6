"""Part of an object: one range a GET, of the very object that was meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simcloud.errors import Corruption, InvalidRequest
from simcloud.s3.client import S3Client
from simcloud.s3.errors import Conditional, translating

if TYPE_CHECKING:
    from types_aiobotocore_s3.type_defs import GetObjectRequestTypeDef


async def read_range(
    client: S3Client,
    *,
    bucket: str,
    key: str,
    offset: int,
    length: int,
    etag: str = "",
    expected_bucket_owner: str = "",
) -> bytes:
    """Bytes ``[offset, offset + length)`` of an object, by one GET, tried once.

    A cancel closes the connection. At most ``length`` bytes are held.

    Args:
        client: from ``simcloud.s3.client.open_client``.
        bucket: S3 bucket.
        key: object key.
        offset: first byte, 0 or more.
        length: bytes, 1 or more.
        etag: ETag that the object must have, quotes included, sent as If-Match; so that a retry
            or an overwritten object never mixes two objects' bytes. Empty: any.
        expected_bucket_owner: AWS account that must own the bucket; empty: any.

    Raises:
        InvalidRequest: the range is empty or begins before the object.
        NotFound: no such bucket or object.
        PreconditionFailed: the object has another ETag.
        Corruption: the object ends before the range does.
        PermissionDenied: S3 refused.
        StorageError: S3 failed; the same call may succeed later.
    """
    if offset < 0 or length < 1:
        problem = f"needs offset >= 0 and length >= 1, found offset {offset}, length {length}"
        raise InvalidRequest("ref", problem)
    conditional = Conditional.IF_MATCH if etag else Conditional.NONE
    with translating("GetObject", bucket=bucket, key=key, conditional=conditional):
        # Range is inclusive at both ends (RFC 9110 section 14.1.2).
        wanted = f"bytes={offset}-{offset + length - 1}"
        request: GetObjectRequestTypeDef = {"Bucket": bucket, "Key": key, "Range": wanted}
        if etag:
            request["IfMatch"] = etag
        if expected_bucket_owner:
            request["ExpectedBucketOwner"] = expected_bucket_owner
        answer = await client.get_object(**request)
        async with answer["Body"] as body:
            size = answer["ContentLength"]
            # Looked at before reading: a server that ignores Range sends the whole object.
            data = await body.read() if size == length else b""
    if size != length:
        message = (
            f"s3://{bucket}/{key}: bytes {offset} to {offset + length - 1} were asked for, S3 "
            f"answered {size} bytes; the object is not what the reference says"
        )
        raise Corruption(message, bucket=bucket, key=key)
    return data
