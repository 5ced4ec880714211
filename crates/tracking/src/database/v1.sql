-- Times are microseconds since 1970-01-01T00:00:00Z.

CREATE TABLE icecore_runs (
    entry INTEGER PRIMARY KEY,              -- in order of their start
    run_id TEXT NOT NULL UNIQUE,
    experiment TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('RUNNING', 'FINISHED', 'FAILED')),
    started_at INTEGER NOT NULL,
    ended_at INTEGER
);
CREATE INDEX icecore_runs_of_experiment ON icecore_runs (experiment);

CREATE TABLE icecore_run_inputs (
    run_id TEXT NOT NULL REFERENCES icecore_runs (run_id),
    position INTEGER NOT NULL,
    table_name TEXT NOT NULL,
    table_uuid TEXT NOT NULL,
    snapshot_id INTEGER NOT NULL,
    PRIMARY KEY (run_id, position)
) WITHOUT ROWID;

CREATE TABLE icecore_run_params (
    run_id TEXT NOT NULL REFERENCES icecore_runs (run_id),
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run_id, key)
) WITHOUT ROWID;

CREATE TABLE icecore_run_tags (
    run_id TEXT NOT NULL REFERENCES icecore_runs (run_id),
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run_id, key)
) WITHOUT ROWID;

CREATE TABLE icecore_run_metrics (
    entry INTEGER PRIMARY KEY,              -- in order of their logging
    run_id TEXT NOT NULL REFERENCES icecore_runs (run_id),
    key TEXT NOT NULL,
    value REAL,                             -- SQLite has no NaN: it stores one as NULL
    step INTEGER NOT NULL,
    logged_at INTEGER NOT NULL
);
CREATE INDEX icecore_run_metrics_of_key ON icecore_run_metrics (run_id, key, step, entry);

CREATE TABLE icecore_model_versions (
    model TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    run_id TEXT NOT NULL REFERENCES icecore_runs (run_id),
    artifact TEXT NOT NULL,
    hash TEXT NOT NULL,                     -- SHA-256, hexadecimal
    created_at INTEGER NOT NULL,
    PRIMARY KEY (model, version),
    UNIQUE (model, run_id, artifact)
) WITHOUT ROWID;

CREATE TABLE icecore_model_aliases (
    model TEXT NOT NULL,
    alias TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (model, alias),
    FOREIGN KEY (model, version) REFERENCES icecore_model_versions (model, version)
) WITHOUT ROWID;
