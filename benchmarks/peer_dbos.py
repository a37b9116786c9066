"""DBOS for ``joins.py``: for each line that comes in, one workflow that waits for two messages and takes a step."""

from __future__ import annotations

import sys
import time

from dbos import DBOS


def main() -> None:
    """Answers each line with the seconds that the workflow took."""
    DBOS(config={"name": "bench", "system_database_url": sys.argv[1], "log_level": "CRITICAL"})

    @DBOS.step()  # type: ignore[untyped-decorator]
    def step(first: int, second: int) -> int:
        return first + second

    @DBOS.workflow()  # type: ignore[untyped-decorator]
    def join() -> int:
        first = DBOS.recv("a")
        total: int = step(first, DBOS.recv("b"))
        return total

    DBOS.launch()
    for _ in sys.stdin:
        began = time.perf_counter()
        handle = DBOS.start_workflow(join)
        DBOS.send(handle.workflow_id, 1, "a")
        DBOS.send(handle.workflow_id, 2, "b")
        if handle.get_result() != 3:
            raise RuntimeError("the workflow lost a message")
        print(f"took {time.perf_counter() - began}", flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    main()
