"""Settings from the environment and the command line, read once at start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from simcloud_model_container.catalogue import PACKAGED_WEIGHTS
from simcloud_model_container.errors import RefusedStart

PREFIX = "SIMCLOUD_MODEL_CONTAINER_"

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class BatchingSettings:
    """How requests become batches; per model."""

    workers: int = 2
    """Threads of inference, so at most that many batches are computed at once; one core each."""
    max_batch: int = 4
    """Images a batch; 1 switches batching off."""
    max_wait_ms: float = 2.0
    """How long the first image of a batch waits for company."""
    max_queue: int = 64
    """Images admitted and not yet answered, decoding included; beyond it a request gets 503."""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What one request may ask for."""

    max_body_bytes: int = 25 * 1024 * 1024
    """SageMaker's real-time limit: 25 MB by its hosting FAQ, 6 MiB by its API model."""
    max_image_pixels: int = 32_000_000
    """Width x height by the picture's header; larger ones are refused before decoding."""
    max_images: int = 16
    """Images of one tensor request."""
    timeout_s: float = 60.0
    """From a request's headers to its answer; SageMaker waits no longer than 60 s."""


@dataclass(frozen=True, slots=True)
class SigningSettings:
    """AWS credentials which local endpoints demand a valid signature of."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)
    """When not empty, requests must carry it."""
    max_clock_skew_s: float = 300.0
    """Signatures older or newer than this are refused, as AWS does."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set; the environment's names are PREFIX + the upper-case field."""

    host: str = "0.0.0.0"  # noqa: S104 - SageMaker's container contract: reachable on every address
    """Address to listen on."""
    port: int = 8080
    """0 takes a free one, which `port_file` and standard output tell."""
    port_file: Path | None = None
    """Written, whole, once the server listens: the port in decimals."""
    weights_folder: Path = PACKAGED_WEIGHTS
    """A folder with `models.toml`."""
    endpoints: Mapping[str, str] = field(
        default_factory=lambda: {
            "nanodet-g": "nanodet-g",
            "efficientnet-lite0": "efficientnet-lite0",
        }
    )
    """Endpoint name -> model name, for /endpoints/{name}/invocations; `name=model,name=model`."""
    default_model: str = "nanodet-g"
    """The model of /invocations."""
    variant: str = "AllTraffic"
    """Production variant that local endpoints say they invoked."""
    drain_timeout_s: float = 25.0
    """After SIGTERM, how long answers in flight may take; SageMaker kills after 30 s."""
    log_level: str = "info"
    """debug, info, warning or error; a request is logged at info."""
    batching: BatchingSettings = field(default_factory=BatchingSettings)
    limits: RequestLimits = field(default_factory=RequestLimits)
    signing: SigningSettings | None = None
    """None: signatures are not looked at."""

    def models(self) -> tuple[str, ...]:
        """Names of the models to load, each once."""
        return tuple(dict.fromkeys([self.default_model, *self.endpoints.values()]))


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from environment variables, defaults where there is none.

    Raises:
        RefusedStart: a variable's value is not of its type or out of range, or a variable with our
            prefix means nothing.
    """
    reader = _Reader(environment)
    default = Settings()
    batching, limits = default.batching, default.limits
    port_file = reader.text("PORT_FILE", "")
    settings = Settings(
        host=reader.text("HOST", default.host),
        port=reader.port(default.port),
        port_file=Path(port_file) if port_file else None,
        weights_folder=Path(reader.text("WEIGHTS_FOLDER", str(default.weights_folder))),
        endpoints=reader.pairs("ENDPOINTS", default.endpoints),
        default_model=reader.text("DEFAULT_MODEL", default.default_model),
        variant=reader.text("VARIANT", default.variant),
        drain_timeout_s=reader.number("DRAIN_TIMEOUT_S", default.drain_timeout_s, least=0),
        log_level=reader.one_of(
            "LOG_LEVEL", default.log_level, ("debug", "info", "warning", "error")
        ),
        batching=BatchingSettings(
            workers=reader.integer("WORKERS", batching.workers, least=1),
            max_batch=reader.integer("MAX_BATCH", batching.max_batch, least=1),
            max_wait_ms=reader.number("MAX_WAIT_MS", batching.max_wait_ms, least=0),
            max_queue=reader.integer("MAX_QUEUE", batching.max_queue, least=1),
        ),
        limits=RequestLimits(
            max_body_bytes=reader.integer("MAX_BODY_BYTES", limits.max_body_bytes, least=1),
            max_image_pixels=reader.integer("MAX_IMAGE_PIXELS", limits.max_image_pixels, least=1),
            max_images=reader.integer("MAX_IMAGES", limits.max_images, least=1),
            timeout_s=reader.number("TIMEOUT_S", limits.timeout_s, least=0),
        ),
        signing=reader.signing(),
    )
    reader.refuse_unknown()
    return settings


class _Reader:
    """Takes variables by name and remembers which it was asked for."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._asked: set[str] = set()

    def text(self, name: str, default: str) -> str:
        self._asked.add(PREFIX + name)
        return self._environment.get(PREFIX + name, default)

    def integer(self, name: str, default: int, *, least: int) -> int:
        return self._converted(name, default, least=least, kind=int)

    def number(self, name: str, default: float, *, least: float) -> float:
        return self._converted(name, default, least=least, kind=float)

    def one_of(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.text(name, default)
        if value not in choices:
            raise _refused(name, f"one of {', '.join(choices)}", value)
        return value

    def port(self, default: int) -> int:
        # A multi-container endpoint tells each container its port this way.
        sagemaker_port = self._environment.get("SAGEMAKER_BIND_TO_PORT", str(default))
        value = self.text("PORT", sagemaker_port)
        if not value.isdecimal() or int(value) > 65535:
            raise _refused("PORT", "a port, 0 to 65535", value)
        return int(value)

    def pairs(self, name: str, default: Mapping[str, str]) -> Mapping[str, str]:
        value = self.text(name, ",".join(f"{key}={model}" for key, model in default.items()))
        pairs: dict[str, str] = {}
        for entry in filter(None, value.split(",")):
            key, _, model = (part.strip() for part in entry.partition("="))
            if not key or not model:
                raise _refused(name, "`endpoint=model,endpoint=model`", value)
            pairs[key] = model
        return pairs

    def signing(self) -> SigningSettings | None:
        key = self.text("SIGV4_ACCESS_KEY_ID", "")
        secret = self.text("SIGV4_SECRET_ACCESS_KEY", "")
        token = self.text("SIGV4_SESSION_TOKEN", "")
        if bool(key) != bool(secret):
            missing = "SIGV4_SECRET_ACCESS_KEY" if key else "SIGV4_ACCESS_KEY_ID"
            raise _refused(missing, "a value, because its partner has one", "")
        if not key:
            return None
        return SigningSettings(access_key_id=key, secret_access_key=secret, session_token=token)

    def refuse_unknown(self) -> None:
        known = ", ".join(sorted(self._asked))
        for name in self._environment:
            if name.startswith(PREFIX) and name not in self._asked:
                message = f"{name} is no setting of the model container; there are {known}"
                raise RefusedStart(message)

    def _converted(
        self, name: str, default: Number, *, least: Number, kind: Callable[[str], Number]
    ) -> Number:
        value = self.text(name, str(default))
        try:
            number = kind(value)
        except ValueError as error:
            raise _refused(name, f"a number from {least} on", value) from error
        if not least <= number < float("inf"):
            raise _refused(name, f"a number from {least} on", value)
        return number


def _refused(name: str, expected: str, found: str) -> RefusedStart:
    return RefusedStart(f"{PREFIX}{name}: expected {expected}, found {found!r}")
