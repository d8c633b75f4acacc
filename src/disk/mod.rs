//! The only code that touches files, and the only `unsafe`: read-only maps of sealed files.
