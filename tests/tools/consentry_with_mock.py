"""The command line with the mock decoder: `python -m tests.tools.consentry_with_mock scan …`."""

from __future__ import annotations

import scanner.engines.local

scanner.engines.local.WORKER = "tests.tools.mock_worker"

if __name__ == "__main__":
    from scanner.cli import main

    main()
