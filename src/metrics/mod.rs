//! Measures over time: from books and trades to series.
