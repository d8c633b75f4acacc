"""One peer, one question: runs in a process of its own on one core and prints what it found."""

import json
import os
import sys
from pathlib import Path

CORE = os.environ.get("PEERS_CORE")
if CORE is not None:
    os.sched_setaffinity(0, {int(CORE)})
# Every library of its own threads: one.
for name in ("POLARS_MAX_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[name] = "1"

import engines  # noqa: E402
from engines.peer import OF_MANY, OF_ONE  # noqa: E402
from market import Market  # noqa: E402


def main():
    """Arguments: peer, question, folder of the peer, description of the market."""
    name, question, folder, described = sys.argv[1:]
    market = Market(**json.loads(Path(described).read_text()))
    Path(folder).mkdir(parents=True, exist_ok=True)
    peer = engines.find(name)(Path(folder), market)
    if question == "asked":
        found = [q for q in OF_ONE + OF_MANY if hasattr(peer, q)]
    elif question == "prepare":
        found = getattr(peer, "prepare", lambda: None)()
    elif question in ("answers", "sizes"):
        found = getattr(peer, question)()
    else:
        found = peer.measure(question)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
