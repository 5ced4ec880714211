//! Turning errors of the systems below into ours.
