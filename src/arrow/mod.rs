//! Every scan as Arrow record batches.
