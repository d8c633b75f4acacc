//! The immutable file of one stream and day: writing, opening, seeking.
