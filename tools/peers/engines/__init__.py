"""The peers, a file each."""

import importlib

NAMES = {
    "tickreel": "tickreel sealed",
    "compacted": "tickreel compacted",
    "duck": "DuckDB",
    "parquet": "Parquet (polars, zstd)",
    "vortices": "Vortex",
    "compact_vortices": "Vortex compact",
    "arctic": "ArcticDB",
    "lances": "Lance",
    "hft": "hftbacktest",
    "dbn": "DBN",
}


def find(name):
    """The class of a peer; an `ImportError` says why it cannot be had."""
    module = {"compacted": "tickreel", "compact_vortices": "vortices"}.get(name, name)
    return importlib.import_module(f"engines.{module}").PEERS[name]
