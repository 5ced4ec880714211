//! Reading a pinned table.
