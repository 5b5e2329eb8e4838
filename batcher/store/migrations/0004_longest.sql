-- For sending the longest recordings first: what waits, in that order. Where no length is known, the size tells.
CREATE INDEX job_longest ON job (duration_ms DESC, size DESC, id) WHERE state = 'waiting';
