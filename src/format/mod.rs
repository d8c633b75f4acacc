//! The on-disk structures as plain values; bytes in, values or a fault out.
