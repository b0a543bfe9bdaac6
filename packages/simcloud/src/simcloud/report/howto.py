"""Commands that open a run with other people's tools, ready to be copied."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to look at the data."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class DataLocation:
    """Where a run's data is for someone else's S3 client."""

    bucket: str
    run_prefix: str
    """Key prefix of the run, without trailing slash."""
    endpoint_url: str
    """Empty on AWS."""
    region: str
    path_style: bool
    last_shard: int

    @property
    def uri(self) -> str:
        """``s3://bucket/prefix/run``."""
        return f"s3://{self.bucket}/{self.run_prefix}"


def recipes(where: DataLocation, *, predictions: str = "") -> list[Recipe]:
    """How to list, query and train from the data.

    Args:
        where: the run.
        predictions: `<model>@<digest>`, to join predictions with labels; empty leaves that out.
    """
    endpoint = f" --endpoint-url {shlex.quote(where.endpoint_url)}" if where.endpoint_url else ""
    result = [
        Recipe(
            "AWS command line", f"aws s3 ls{endpoint} {shlex.quote(where.uri + '/')} --recursive"
        ),
        Recipe("DuckDB: what is in the index", _duckdb(where)),
    ]
    if predictions:
        result.append(Recipe("DuckDB: predictions beside labels", _joined(where, predictions)))
    result.append(Recipe("webdataset: train from it", _webdataset(where, endpoint)))
    return result


def _secret(where: DataLocation) -> str:
    options = ["TYPE s3", "PROVIDER credential_chain", f"REGION '{where.region}'"]
    if where.endpoint_url:
        parts = urlsplit(where.endpoint_url)
        options += [f"ENDPOINT '{parts.netloc}'", f"USE_SSL {str(parts.scheme == 'https').lower()}"]
    if where.path_style:
        options.append("URL_STYLE 'path'")
    return f"CREATE SECRET ({', '.join(options)});"


def _duckdb(where: DataLocation) -> str:
    return "\n".join(
        [
            "INSTALL httpfs; LOAD httpfs; INSTALL aws; LOAD aws;",
            _secret(where),
            "SELECT label.label, count(*) AS objects, avg(label.occlusion) AS occlusion",
            # shown to be copied, never run by us
            f"FROM (SELECT unnest(objects) AS label FROM '{where.uri}/index/*.parquet')",  # noqa: S608
            "GROUP BY ALL ORDER BY objects DESC;",
        ]
    )


def _joined(where: DataLocation, predictions: str) -> str:
    return "\n".join(
        [
            "SELECT frame, camera, len(objects) AS objects, len(predictions) AS predictions",
            f"FROM '{where.uri}/index/*.parquet'",
            f"JOIN '{where.uri}/predictions/{predictions}/*.parquet' USING (frame, camera)",
            "ORDER BY frame;",
        ]
    )


def _webdataset(where: DataLocation, endpoint: str) -> str:
    shards = f"{{000000..{where.last_shard:06d}}}" if where.last_shard else "000000"
    url = f"pipe:aws s3 cp{endpoint} {where.uri}/shards/{shards}.tar -"
    return "\n".join(
        [
            "import webdataset as wds",
            f'url = "{url}"',
            'data = wds.WebDataset(url, shardshuffle=False).decode("rgb8")',
            "for sample in data:",
            '    camera = next(key for key in sample if key.endswith(".rgb.png"))',
            '    print(sample["__key__"], sample[camera].shape)',
        ]
    )
