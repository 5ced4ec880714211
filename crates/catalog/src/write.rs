//! Writing rows into data files.
