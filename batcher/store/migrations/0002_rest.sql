-- Which API the batch was last sent through: while anything of it is at the service, no other one can see it.
ALTER TABLE batch ADD COLUMN api TEXT NOT NULL DEFAULT 'grpc';

-- Stands for the account (host and key) that the batch was last known to be at; empty in tables from before.
ALTER TABLE batch ADD COLUMN account TEXT NOT NULL DEFAULT '';

-- When an upload last ended of which nobody knows whether it arrived (UTC milliseconds): it may still show up.
ALTER TABLE batch ADD COLUMN loose_at INTEGER NOT NULL DEFAULT 0;

-- By which clock the latest run counted: times of an earlier run mean nothing when the clock was set since.
ALTER TABLE batch ADD COLUMN boot TEXT NOT NULL DEFAULT '';
ALTER TABLE batch ADD COLUMN clock_origin INTEGER NOT NULL DEFAULT 0;

-- A recording that the service could not decode is sent once more as FLAC.
ALTER TABLE job ADD COLUMN convert INTEGER NOT NULL DEFAULT 0;

-- What may help a job that the service failed.
ALTER TABLE job ADD COLUMN remedy TEXT CHECK (remedy IN ('again', 'convert', 'stop'));

-- What one attempt occupies at the service. A URL (the only path that does not begin with a slash) is fetched by the
-- service itself and stored as no file of ours.
ALTER TABLE job ADD COLUMN files INTEGER GENERATED ALWAYS AS (substr(path, 1, 1) = x'2f') VIRTUAL;

-- As FLAC at most its plain sound of 32 bytes a millisecond, and a header. Where nobody knows the length it is
-- taken for the longest that the service accepts, 5 hours.
ALTER TABLE job ADD COLUMN bytes INTEGER
    GENERATED ALWAYS AS (iif(convert, 65536 + 32 * coalesce(duration_ms, 18000000), size)) VIRTUAL;
