//! An order book in memory: levels of two sides and what can be measured on them.
