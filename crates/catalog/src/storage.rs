//! Files: nothing half written is ever visible under its final name.
