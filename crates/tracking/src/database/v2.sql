ALTER TABLE icecore_runs ADD COLUMN deleted_at INTEGER;     -- NULL: it was not deleted
-- Its files are being removed, and then its row: it cannot come back.
ALTER TABLE icecore_runs ADD COLUMN removing INTEGER NOT NULL DEFAULT 0 CHECK (removing IN (0, 1));

-- The greatest number that a version of a model ever had. Deleting a version leaves it.
CREATE TABLE icecore_models (
    model TEXT NOT NULL PRIMARY KEY,
    last_version INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO icecore_models SELECT model, max(version) FROM icecore_model_versions GROUP BY model;
