"""Ours and the peers on the same rows, alternating, on one core each: prints the table.

    python3 tools/peers/run.py [--data FOLDER] [--many FOLDER] [--captures FOLDER]

FOLDER holds `incremental_book_L2.csv` (and `trades.csv`) in Tardis's columns: `--data` one symbol's
day, `--many` many symbols merged in order of time. Without them the rows are made by `tickreel
bench --growth 10`. The virtual environment and all files are under `target/peers`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
WORK = TOP / "target" / "peers"
VENV = WORK / "venv" / "bin" / "python"


def make_venv() -> None:
    """Installs what is pinned, line by line: what cannot be had is missing alone."""
    if not VENV.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV.parent.parent], check=True)
    for line in (HERE / "peers.txt").read_text().splitlines():
        package = line.split("#")[0].strip()
        if package:
            command = [VENV, "-m", "pip", "install", "-q", "--disable-pip-version-check", package]
            failed = subprocess.run(command, capture_output=True, text=True, check=False)
            if failed.returncode:
                last = failed.stderr.strip().splitlines()[-1:]
                say(f"{package} cannot be installed: {''.join(last)}")


def say(text: str) -> None:
    """Tells how it goes on."""
    print(text, file=sys.stderr, flush=True)


class Run:
    """The peers on the rows of one folder."""

    def __init__(self, args, folder: Path, name: str):
        """Describes the rows."""
        from market import describe

        self.args, self.work = args, WORK / name
        self.market = describe(folder.resolve(), self.work / "market.json")
        self.missing: dict[str, str] = {}
        self.figures: dict[str, dict[str, list[dict]]] = {}
        self.sizes: dict[str, dict[str, int]] = {}
        self.answers: dict[str, dict] = {}

    def ask(self, peer: str, question: str):
        """One question in a process of its own; `None` if it failed, which is said and kept."""
        command = [
            VENV,
            HERE / "worker.py",
            peer,
            question,
            self.work / peer,
            self.work / "market.json",
        ]
        environment = {
            **os.environ,
            "PEERS_CORE": str(self.args.core),
            "TICKREEL_BIN": str(self.args.bin),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            named = [line for line in lines if "rror" in line or "panicked" in line]
            reason = (named or lines)[-1]
            self.missing.setdefault(peer, f"{question}: {reason}")
            say(f"  {peer} {question} FAILED: {reason}")
            return None
        return json.loads(done.stdout.strip().splitlines()[-1])

    def all(self, questions: list[str]) -> None:
        """Every question to every peer, in turn, so many rounds."""
        asked = {peer: self.ask(peer, "asked") or [] for peer in self.args.peers}
        for question in questions:
            for _ in range(1 if question == "load" and self.args.quick else self.args.rounds):
                for peer in self.args.peers:
                    if question in asked[peer] and (found := self.ask(peer, question)):
                        self.figures.setdefault(question, {}).setdefault(peer, []).append(found)
            if question == "load":
                for peer in (peer for peer in self.args.peers if asked[peer]):
                    self.sizes[peer] = self.ask(peer, "sizes") or {}
                    self.ask(peer, "prepare")
            say(f"{self.work.name}: {question} done")
        for peer in (peer for peer in self.args.peers if asked[peer]):
            self.answers[peer] = self.ask(peer, "answers") or {}

    def differs(self, peer: str, question: str) -> bool:
        """Whether an answer is not ours."""
        ours = self.answers.get(self.args.peers[0], {}).get(question)
        theirs = self.answers.get(peer, {}).get(question)
        return ours is not None and theirs is not None and ours != theirs

    def values(self, question: str, key: str) -> dict[str, float]:
        """The median of the rounds."""
        rounds = self.figures.get(question, {})
        return {
            peer: statistics.median(found[key] for found in all_) for peer, all_ in rounds.items()
        }


def table(one: Run | None, many: Run | None) -> list[dict]:
    """The rows of the table: what, unit, whether less is better, a value for each peer."""
    rows = []

    def add(what, unit, less, values, run=None, question=None):
        if values:
            differing = [p for p in values if run and run.differs(p, question)]
            rows.append(
                {"what": what, "unit": unit, "less": less, "values": values, "differs": differing}
            )

    if one:
        count = {"book": one.market.rows, "trades": count_lines(one.market.trades)}
        for kind, name in (("book", "book row"), ("trades", "trade")):
            sizes = {p: s[kind] / count[kind] for p, s in one.sizes.items() if s.get(kind)}
            add(f"bytes per {name}", "B", True, sizes)
        add("import from Tardis CSV", "M rows/s", False, rates(one, "load"))
        add("scan, all columns", "M rows/s", False, rates(one, "scan"), one, "scan")
        for question, name in (("book", "book at T, all levels"), ("range", "1-minute range")):
            for key in ("p50_us", "p99_us"):
                times = {p: us / 1000 for p, us in one.values(question, key).items()}
                add(f"{name}, {key[:3]}", "ms", True, times, one, question)
        add("replay through a book", "M rows/s", False, rates(one, "replay"))
    if many:
        count = len(many.market.symbols)
        add(f"{count} symbols merged", "M rows/s", False, rates(many, "merged"), many, "merged")
        for question, name in (
            ("minute", f"1 minute of {count} symbols"),
            ("day", f"one symbol's day out of {count}"),
        ):
            times = {p: us / 1000 for p, us in many.values(question, "p50_us").items()}
            add(f"{name}, p50", "ms", True, times, many, question)
    return rows


def rates(run: Run, question: str) -> dict[str, float]:
    """Millions of rows per second of processor time."""
    return {p: rate / 1e6 for p, rate in run.values(question, "rows_per_cpu_s").items()}


def count_lines(path: Path) -> int:
    """Rows of a CSV file."""
    if not path.exists():
        return 1
    with path.open("rb") as file:
        return max(1, sum(1 for _ in file) - 1)


def markdown(rows: list[dict], peers: list[str], names: dict[str, str]) -> str:
    """The table; in brackets how many times better ours (the first) is."""
    lines = [
        "| what | unit | " + " | ".join(names[peer] for peer in peers) + " |",
        "|" + "---|" * (len(peers) + 2),
    ]
    for row in rows:
        cells = []
        for peer in peers:
            value, ours = row["values"].get(peer), row["values"].get(peers[0])
            cell = "" if value is None else short(value, 3)
            if value and ours and peer != peers[0]:
                ratio = value / ours if row["less"] else ours / value
                cell += f" (x {short(ratio, 2)})"
            cells.append(cell + (" DIFFERS" if peer in row["differs"] else ""))
        lines.append(f"| {row['what']} | {row['unit']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def short(value: float, digits: int) -> str:
    """So many digits that count."""
    return f"{float(f'{value:.{digits}g}'):,g}"


def arguments():
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of one symbol's day")
    parser.add_argument("--many", type=Path, help="folder of many symbols")
    parser.add_argument(
        "--captures",
        type=Path,
        help="folder of Binance captures",
        default=Path(os.environ.get("TICKREEL_DATA", TOP / "../shared/data")),
    )
    parser.add_argument("--store", type=Path, help="a store: bytes per row of its books too")
    parser.add_argument("--bin", type=Path, default=TOP / "target/release/tickreel")
    parser.add_argument("--core", type=int, default=(os.cpu_count() or 1) - 1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="import once")
    parser.add_argument("--peers", type=lambda text: text.split(","), help="of engines/__init__.py")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Measures and prints."""
    args = arguments()
    if Path(sys.executable) != VENV:
        make_venv()
        os.execv(VENV, [str(VENV), *sys.argv])
    sys.path.insert(0, str(HERE))
    import captures
    import made
    from engines import NAMES
    from engines.peer import OF_MANY, OF_ONE

    args.peers = args.peers or list(NAMES)
    if args.data is None and args.many is None:
        args.data, args.many = made.markets(args.bin, WORK / "made")
    one = Run(args, args.data, "one") if args.data else None
    many = Run(args, args.many, "many") if args.many else None
    for run, questions in ((one, OF_ONE), (many, OF_MANY)):
        if run:
            run.all(questions)
    rows = table(one, many)
    sizes = captures.of_captures(args.bin, args.captures, WORK / "captures")
    if args.store:
        sizes += captures.of_store(args.bin, args.store, WORK / "store")
    missing = {**(many.missing if many else {}), **(one.missing if one else {})}
    if args.json:
        print(json.dumps({"rows": rows, "sizes": sizes, "missing": missing}))
        return
    print(markdown(rows, args.peers, NAMES))
    print("\n" + markdown(sizes, captures.PEERS, NAMES))
    for peer, reason in missing.items():
        print(f"\n{NAMES[peer]}: {reason}")


if __name__ == "__main__":
    main()
