-- The second chance of an audio that the service has failed: how often that was forgiven, and whether it goes as FLAC. Both
-- are what its next job is admitted with; zero where there is none, or none any more.
ALTER TABLE verdict ADD COLUMN forgiven INTEGER NOT NULL DEFAULT 0;
ALTER TABLE verdict ADD COLUMN convert INTEGER NOT NULL DEFAULT 0;

INSERT INTO verdict (digest, options, state, cause, reason, accepted, forgiven, convert)
    SELECT digest, options, 'failed', 'service', reason, since - 1, forgiven, convert FROM job
    WHERE digest IS NOT NULL AND files AND (
        ((forgiven OR convert) AND state IN ('waiting', 'uploading', 'sealed', 'uncertain', 'submitted', 'completed'))
        OR (state = 'failing' AND cause = 'service' AND remedy IS NOT 'stop'))
    ORDER BY id
    ON CONFLICT DO NOTHING;
