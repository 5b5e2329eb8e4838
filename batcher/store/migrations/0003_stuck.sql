-- What the service last said of a submitted job and since when (UTC milliseconds), and since when that is too long.
ALTER TABLE job ADD COLUMN remote_status TEXT CHECK (remote_status IN ('queued', 'processing'));
ALTER TABLE job ADD COLUMN remote_since INTEGER;
ALTER TABLE job ADD COLUMN stuck_at INTEGER;

CREATE INDEX job_stuck ON job (stuck_at) WHERE stuck_at IS NOT NULL;
