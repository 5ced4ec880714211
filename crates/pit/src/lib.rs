//! Point-in-time joins of a spine with any number of feature views.
