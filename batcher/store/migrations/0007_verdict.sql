-- What the service failed or lost, and what a person gave up after the service had accepted it: known by its content and
-- options, so that it is not sent again by itself under another name or time. `accepted` is UTC milliseconds, at most
-- when the job had ended.
CREATE TABLE verdict (
    digest BLOB NOT NULL,
    options TEXT NOT NULL REFERENCES option_set,
    state TEXT NOT NULL CHECK (state IN ('failed', 'cancelled')),
    cause TEXT,
    reason TEXT,
    accepted INTEGER NOT NULL,
    PRIMARY KEY (digest, options)
) STRICT, WITHOUT ROWID;

-- The same as `store.verdicts` keeps, of the jobs that have ended so already.
INSERT INTO verdict (digest, options, state, cause, reason, accepted)
    SELECT digest, options, state, cause, reason, coalesce(sealed_at, since) FROM job
    WHERE digest IS NOT NULL AND files AND (
        (state = 'cancelled' AND (remote IS NOT NULL OR forgiven OR convert))
        OR (state = 'failed' AND cause IN ('service', 'vanished')
            AND (remote IS NOT NULL OR sealed_at IS NOT NULL OR forgiven OR convert)))
    AND NOT EXISTS (SELECT 1 FROM transcript t WHERE t.digest = job.digest AND t.options = job.options)
    ORDER BY id
    ON CONFLICT DO NOTHING;

-- That a person wants a job sent although there is a verdict on its audio: until it is accepted, given up or done.
ALTER TABLE job ADD COLUMN asked INTEGER NOT NULL DEFAULT 0;
