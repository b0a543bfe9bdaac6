"""A request's parameters: those that ask something of the router, and those that are the model's.

Reserved names as in Triton (docs/protocol/extension_parameters.md): of its own kinds, and none
that begins with ``triton_`` but the one below. Ours begin with ``sm_``, which no client reserves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from simcloud.errors import InvalidRequest
from simcloud_inference_router.codecs.base import Parameter

FINAL_RESPONSE_WANTED = "triton_enable_empty_final_response"
FINAL_RESPONSE = "triton_final_response"
SESSION = "sm_session_id"
CLOSED_SESSION = "sm_closed_session_id"
TARGET_MODEL = "sm_target_model"
CUSTOM_ATTRIBUTES = "sm_custom_attributes"
"""Names of parameters; the last three and SESSION also of an answer's."""

MAX_SESSION_ID = 256
"""Characters of SessionId (InvokeEndpoint's model)."""

MAX_TARGET_MODEL = 1024
"""Characters of TargetModel (InvokeEndpoint's model)."""

_KINDS: Mapping[str, tuple[type, ...]] = {
    "sequence_id": (int, str),
    "sequence_start": (bool,),
    "sequence_end": (bool,),
    "priority": (int,),
    "timeout": (int,),
    FINAL_RESPONSE_WANTED: (bool,),
    SESSION: (str,),
    TARGET_MODEL: (str,),
}
_HEADER_VALUE = re.compile(r"[\x21-\x7e]+")

# What concerns the wire between the client and us; the model has no use for it.
_NOT_THE_MODELS = frozenset({FINAL_RESPONSE_WANTED, "binary_data_output", SESSION, TARGET_MODEL})


@dataclass(frozen=True, slots=True)
class SequenceStep:
    """A request of a sequence."""

    id: int | str
    start: bool = False
    end: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """Where a request's state is."""

    key: str
    """What keeps its requests at one target."""
    id: str = ""
    """At the endpoint; empty: it keeps none of SageMaker's sessions."""

    @property
    def token(self) -> str:
        """What a caller sends back to go on with the session on any replica."""
        return f"{self.key}:{self.id}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks of the router."""

    final_response: bool = False
    """Whether the last answer is to be marked, and sent empty where there is none."""
    sequence: SequenceStep | None = None
    session: Session | None = None
    """The session that the caller goes on with by its token."""
    target_model: str = ""
    """Model of a multi-model endpoint; empty: the catalogue's."""


NOTHING_ASKED = Asked()


@dataclass(frozen=True, slots=True)
class ReadParameters:
    """Both halves of a request's parameters."""

    asked: Asked = NOTHING_ASKED
    model: Mapping[str, Parameter] = field(default_factory=dict)
    """The model's: all that travel on."""


def read_parameters(found: Mapping[str, Parameter]) -> ReadParameters:
    """Sorts a request's parameters.

    Raises:
        InvalidRequest: a reserved name has a value of another kind, or is not known here.
    """
    for name, value in found.items():
        _check(name, value)
    model = {name: value for name, value in found.items() if name not in _NOT_THE_MODELS}
    target_model = str(found.get(TARGET_MODEL, ""))
    if TARGET_MODEL in found and not _is_header(target_model, MAX_TARGET_MODEL):
        problem = f"expected 1 to {MAX_TARGET_MODEL} characters of visible ASCII"
        raise InvalidRequest(f"parameters[{TARGET_MODEL}]", problem)
    asked = Asked(
        final_response=FINAL_RESPONSE_WANTED in found,
        sequence=_sequence(found),
        session=_session(found),
        target_model=target_model,
    )
    return ReadParameters(asked, model)


def _check(name: str, value: Parameter) -> None:
    kinds = _KINDS.get(name)
    if kinds is None:
        if name.startswith("triton_"):
            problem = "names that begin with triton_ are reserved for Triton; use another"
            raise InvalidRequest(f"parameters[{name[:64]}]", problem)
        if name.startswith("sm_"):
            problem = f"is not known; of the router's there are {SESSION} and {TARGET_MODEL}"
            raise InvalidRequest(f"parameters[{name[:64]}]", problem)
    # bool is an int to Python, not on the wire
    elif type(value) not in kinds:
        expected = " or ".join(kind.__name__ for kind in kinds)
        problem = f"expected {expected}, found {type(value).__name__}"
        raise InvalidRequest(f"parameters[{name}]", problem)


def _sequence(found: Mapping[str, Parameter]) -> SequenceStep | None:
    number = found.get("sequence_id", 0)
    start, end = bool(found.get("sequence_start")), bool(found.get("sequence_end"))
    # Triton: an id of 0 or an empty one is none.
    if not number:
        if start or end:
            problem = "is missing: sequence_start and sequence_end belong to a sequence"
            raise InvalidRequest("parameters[sequence_id]", problem)
        return None
    assert isinstance(number, int | str), "checked above"
    return SequenceStep(number, start, end)


def _session(found: Mapping[str, Parameter]) -> Session | None:
    if SESSION not in found:
        return None
    key, colon, session_id = str(found[SESSION]).partition(":")
    if (
        not colon
        or not _is_header(session_id, MAX_SESSION_ID)
        or not re.fullmatch("\\w{1,64}", key)
    ):
        problem = "is none that the router gave out: send back what an answer said, as it is"
        raise InvalidRequest(f"parameters[{SESSION}]", problem)
    return Session(key, session_id)


def _is_header(value: str, most: int) -> bool:
    return len(value) <= most and _HEADER_VALUE.fullmatch(value) is not None
