-- For sending the longest recordings first: how long one is, or as long as nobody knows, what its size suggests. Most
-- are compressed to some 128 kbit/s, which is 16 bytes a millisecond.
ALTER TABLE job ADD COLUMN length_ms INTEGER GENERATED ALWAYS AS (coalesce(duration_ms, size / 16)) VIRTUAL;
DROP INDEX job_longest;
CREATE INDEX job_longest ON job (length_ms DESC, id) WHERE state = 'waiting';
