"""The `simcloud` command: runs it, and turns what went wrong into one line and an exit code."""

from __future__ import annotations

import sys

from simcloud.errors import SimcloudError
from simcloud_cli.app import app
from simcloud_cli.exit_codes import ExitCode, code_of
from simcloud_cli.interrupt import Interrupted
from simcloud_cli.output import console, print_error
from simcloud_cli.state import options


def main() -> None:
    """Runs the command line of this process and exits."""
    try:
        app(prog_name="simcloud")
    except SimcloudError as error:
        if options.debug:
            raise
        print_error(error, as_json="--json" in sys.argv)
        sys.exit(code_of(error))
    except Interrupted:
        console(stderr=True).print("[yellow]interrupted[/]: what was stored stays")
        sys.exit(ExitCode.INTERRUPTED)


if __name__ == "__main__":
    main()
