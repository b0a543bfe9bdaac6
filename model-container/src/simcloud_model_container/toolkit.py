"""A model of ours in a container that is not this image: SageMaker's inference toolkit.

AWS's framework containers import `code/inference.py` of the model's archive and call `model_fn`
once and `transform_fn` a request (aws/sagemaker-inference-toolkit, "Implement the handler
functions"). Neither HTTP nor metrics are imported here: those are that container's.

``python -m simcloud_model_container.toolkit FOLDER`` loads a folder and answers one grey picture,
and so says whether it can be served before it is sent anywhere.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from simcloud_model_container.catalogue import read_catalogue
from simcloud_model_container.errors import ModelContainerError, RefusedStart
from simcloud_model_container.invocation import Invocation, InvocationCodec
from simcloud_model_container.models import make_family
from simcloud_model_container.session import NetworkSession
from simcloud_model_container.settings import RequestLimits

_GREY = 114


@dataclass(frozen=True, slots=True)
class ToolkitModel:
    """What `model_fn` returns and `transform_fn` is given."""

    codec: InvocationCodec
    session: NetworkSession


def model_fn(model_dir: str) -> ToolkitModel:
    """The one model of a folder with `models.toml`, run once.

    Raises:
        RefusedStart: there is none or more than one, or it can't be loaded.
    """
    catalogue = read_catalogue(Path(model_dir))
    if len(catalogue) != 1:
        message = f"{model_dir}/models.toml has {len(catalogue)} models, expected one"
        raise RefusedStart(message)
    (description,) = catalogue.values()
    family = make_family(description.family, description.read_labels())
    session = NetworkSession(description.read_weights(), name=description.name)
    session.run(np.zeros((1, *family.input_shape), np.float32))
    codec = InvocationCodec(description=description, family=family, limits=RequestLimits())
    return ToolkitModel(codec=codec, session=session)


def transform_fn(
    model: ToolkitModel, body: bytes | str, content_type: str, accept: str
) -> tuple[bytes, str]:
    """One request's answer and its content type, as `/invocations` of this image gives them.

    Text types come decoded from the toolkit.

    Raises:
        RequestRefused: of the family that says what is wrong with the request.
    """
    data = body.encode() if isinstance(body, str) else body
    work = model.codec.read(
        Invocation(content_type=content_type, accept=accept, custom_attributes="", body=data)
    )
    # One by one, as memory for a batch of any size would be the container's to bound.
    raw = [row for image in work.images for row in model.session.run(image[None])]
    answer = model.codec.answer(work, raw)
    return answer.body, answer.content_type


def main(folder: str) -> int:
    """Loads a folder's model and answers one grey picture; 0 when it did."""
    try:
        model = model_fn(folder)
        picture = cv2.imencode(".png", np.full((48, 64, 3), _GREY, np.uint8))[1].tobytes()
        transform_fn(model, picture, "image/png", "application/json")
    except ModelContainerError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except Exception as error:  # a network that runs otherwise than its family thinks
        sys.stderr.write(f"the model fails on a picture: {error!r}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
