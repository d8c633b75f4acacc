//! The command line: parse flags, call below, print.
