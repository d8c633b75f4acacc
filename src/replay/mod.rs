//! Cursors over stored streams: scan, merge and replay in the total order.
