//! Encodings of column pages: values to bytes and back, lossless; no files.
