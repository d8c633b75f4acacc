from __future__ import annotations

import unittest

import generate


class Stubs(unittest.TestCase):
    def test_the_stubs_are_what_the_contract_gives(self) -> None:
        self.assertEqual(generate.outdated(), [], "run tools/python/generate.py")


if __name__ == "__main__":
    unittest.main()
