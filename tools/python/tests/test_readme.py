"""The code of README.md, as it is written."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from support import BTC, ServerTest, serve

from tickreel import Client

README = Path(__file__).parent.parent / "README.md"


class Readme(ServerTest):
    def test_the_code_does_what_it_says(self) -> None:
        import matplotlib

        matplotlib.use("Agg")
        blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
        self.assertEqual(len(blocks), 5)
        names: dict[str, Any] = {}
        for block in blocks:
            out = io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.ExitStack() as stack:
                if "client.append()" in block:
                    self.serve_appending(stack, names)
                exec(block.replace("http://127.0.0.1:7400", self.url), names)
            if "client.append()" in block:
                names["client"] = Client(self.url)
            if "print(" in block:
                self.assertGreater(len(out.getvalue().splitlines()), 10, block)
        self.assertGreater(names["result"].trades, 10)

    def serve_appending(self, stack: contextlib.ExitStack, names: dict[str, Any]) -> None:
        """A server that takes rows, and some of another's."""
        names["table"] = names["client"].read(BTC, "trades", exact=True).slice(0, 10)
        folder = stack.enter_context(TemporaryDirectory())
        url = stack.enter_context(serve(Path(folder) / "live.reel", "--append"))
        names["client"] = stack.enter_context(Client(url))
