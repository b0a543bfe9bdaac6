"""Pictures as they are: the body is the picture, its media type is the content type."""

from __future__ import annotations

from collections.abc import Mapping

from simcloud_inference_router.codecs.base import Encoded

DEFAULT_ACCEPT = "application/json"


def encode_picture(
    data: bytes, *, media_type: str, accept: str, parameters: Mapping[str, str]
) -> Encoded:
    """The picture as a request.

    Args:
        data: the encoded picture.
        media_type: for example ``image/jpeg``.
        accept: media type wanted back; empty means ``application/json``.
        parameters: for the model, for example ``score_threshold``.
    """
    return Encoded(
        body=data,
        content_type=media_type,
        accept=accept or DEFAULT_ACCEPT,
        parameters=parameters,
    )
