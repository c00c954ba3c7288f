"""A gateway whose host's clock is wrong: ``python -m tests.calls.stepping_clock FILE``.

The file says by how many seconds, and may be written again at any moment.
"""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gateway import app, logs
from gateway.settings import read_settings


def main() -> None:
    """Serve, as ``dialout serve`` does."""
    file = Path(sys.argv[1])
    settings = read_settings()
    logs.configure(settings.log.format, settings.log.level)

    def now() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=float(file.read_text()))

    asyncio.run(app.serve(settings, now=now))


if __name__ == "__main__":
    main()
