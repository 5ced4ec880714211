//! Making a new state of a table visible in one step.
