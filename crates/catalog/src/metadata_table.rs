//! What a table knows about itself, as tables.
