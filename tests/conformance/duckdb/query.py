"""Run with DuckDB's own Python: what its reader of S3 and HTTP makes of a run's indexes."""

from __future__ import annotations

import json
import sys

import duckdb
from duckdb_extensions import import_extension  # type: ignore[import-not-found]

OBJECTS = """
    SELECT o.label, count(*), avg(o.occlusion), min(fov), max(frame)
    FROM (
        SELECT frame, "params.camera.fov_deg" AS fov, unnest(objects) AS o
        FROM read_parquet(?) WHERE camera = 'left' AND frame > 0
    )
    GROUP BY ALL
"""


def main(endpoint: str, access_key: str, secret_key: str, prefix: str, url: str) -> None:
    """Prints the answers by way, for all indexes below a prefix and for the one of a URL."""
    import_extension("httpfs")  # from its package, in place of its maker's server
    connection = duckdb.connect()
    connection.execute("LOAD httpfs")
    connection.execute(
        "CREATE SECRET (TYPE s3, REGION 'us-east-1', URL_STYLE 'path', USE_SSL false, "
        f"ENDPOINT '{endpoint}', KEY_ID '{access_key}', SECRET '{secret_key}')"
    )
    ways = {"s3": f"{prefix}*.parquet", "http": url}
    answers = {way: connection.execute(OBJECTS, [where]).fetchall() for way, where in ways.items()}
    sys.stdout.write(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
