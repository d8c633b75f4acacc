#!/usr/bin/env python3
"""Makes the gRPC stubs of `src/tickreel/_proto` from the contract, `format-spec/rpc/v1`.

    python generate.py            write them
    python generate.py --check    exit code 1 if they are out of date

Needs the `grpcio-tools` of requirements.txt: other versions write other stubs.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONTRACT = HERE.parent.parent / "format-spec" / "rpc" / "v1"
TARGET = HERE / "src" / "tickreel" / "_proto"
NAMES = ("tickreel_pb2.py", "tickreel_pb2.pyi", "tickreel_pb2_grpc.py")


def generate() -> dict[str, str]:
    """Every stub by its file name."""
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as folder:
        outs = [f"--{kind}_out={folder}" for kind in ("python", "pyi", "grpc_python")]
        # The name under which Python imports it is also its name among protobuf's descriptors.
        source = [f"-Itickreel/_proto={CONTRACT}", "tickreel/_proto/tickreel.proto"]
        if protoc.main(["protoc", *outs, *source]) != 0:
            raise SystemExit("the contract cannot be compiled")
        made = Path(folder) / "tickreel" / "_proto"
        return {name: (made / name).read_text() for name in NAMES}


def outdated() -> list[str]:
    """The names of stubs that are not what the contract gives."""
    return [
        name
        for name, text in generate().items()
        if not (TARGET / name).exists() or (TARGET / name).read_text() != text
    ]


def main() -> None:
    """Write the stubs, or check them."""
    if sys.argv[1:] == ["--check"]:
        if names := outdated():
            raise SystemExit(f"out of date, run generate.py: {', '.join(names)}")
        return
    for name, text in generate().items():
        (TARGET / name).write_text(text)


if __name__ == "__main__":
    main()
