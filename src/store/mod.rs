//! The folder: open, snapshot, import.
