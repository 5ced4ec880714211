//! Tags and branches.
