-- One row: the batch itself. `session` counts the runs, so that a row claimed by an earlier run is recognised.
CREATE TABLE batch (
    id TEXT PRIMARY KEY CHECK (length(id) = 16),
    created INTEGER NOT NULL,
    session INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Directories that were scanned, and the folder inside OUT that mirrors each.
CREATE TABLE root (
    path BLOB PRIMARY KEY,
    prefix TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE option_set (
    fingerprint TEXT PRIMARY KEY,
    body TEXT NOT NULL
) STRICT;

-- A transcript belongs to a content and its options; every recording with both shares it.
CREATE TABLE transcript (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL,
    options TEXT NOT NULL REFERENCES option_set,
    api TEXT NOT NULL,
    reference TEXT NOT NULL,
    remote TEXT NOT NULL,
    words INTEGER NOT NULL,
    created INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (digest, options)
) STRICT;

-- The checks are chains of comparisons: for an IN of more than two values SQLite fills a table each time, and five of those
-- took a quarter of a move's time. Tables made before this have the same checks, in that spelling. (Nothing had been
-- released yet: after that a migration is not edited any more.)
CREATE TABLE job (
    id INTEGER PRIMARY KEY,
    path BLOB NOT NULL UNIQUE,
    output TEXT NOT NULL,
    output_key TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    options TEXT NOT NULL REFERENCES option_set,
    state TEXT NOT NULL DEFAULT 'new' CHECK (
        state = 'new' OR state = 'waiting' OR state = 'twin' OR state = 'uploading' OR state = 'sealed'
        OR state = 'uncertain' OR state = 'submitted' OR state = 'completed' OR state = 'stored' OR state = 'rendering'
        OR state = 'failing' OR state = 'cancelling' OR state = 'done' OR state = 'failed' OR state = 'cancelled'
        OR state = 'skipped'),
    since INTEGER NOT NULL,
    not_before INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,
    session INTEGER NOT NULL DEFAULT 0,
    sealed_at INTEGER,
    forgiven INTEGER NOT NULL DEFAULT 0,
    digest BLOB,
    duration_ms INTEGER,
    reference TEXT,
    remote TEXT,
    compare INTEGER NOT NULL DEFAULT 0,
    twin_of INTEGER REFERENCES job,
    cancel_wanted INTEGER NOT NULL DEFAULT 0,
    absent_at INTEGER,
    transcript INTEGER REFERENCES transcript,
    formats TEXT NOT NULL DEFAULT '',
    shown INTEGER REFERENCES transcript,
    cause TEXT,
    reason TEXT,
    created INTEGER NOT NULL,
    CHECK ((state = 'twin') = (twin_of IS NOT NULL)),
    CHECK (reference IS NOT NULL OR (state <> 'uploading' AND state <> 'sealed' AND state <> 'uncertain'
           AND state <> 'submitted' AND state <> 'completed' AND state <> 'stored')),
    CHECK (digest IS NOT NULL OR (state <> 'sealed' AND state <> 'uncertain'
           AND state <> 'submitted' AND state <> 'completed' AND state <> 'stored')),
    CHECK (remote IS NOT NULL OR (state <> 'submitted' AND state <> 'completed' AND state <> 'stored')),
    CHECK (transcript IS NOT NULL OR (state <> 'stored' AND state <> 'rendering' AND state <> 'done'))
) STRICT;

CREATE INDEX job_due ON job (state, not_before, id);
CREATE INDEX job_size ON job (size);
-- Those whose content nobody has asked for yet; small, however many recordings have one size.
CREATE INDEX job_unread ON job (size) WHERE digest IS NULL AND compare = 0;
CREATE INDEX job_digest ON job (digest) WHERE digest IS NOT NULL;
CREATE INDEX job_twin ON job (twin_of) WHERE twin_of IS NOT NULL;
CREATE INDEX job_transcript ON job (transcript) WHERE transcript IS NOT NULL;
CREATE UNIQUE INDEX job_reference ON job (reference) WHERE reference IS NOT NULL;
CREATE UNIQUE INDEX job_remote ON job (remote) WHERE remote IS NOT NULL;

CREATE TABLE history (
    id INTEGER PRIMARY KEY,
    job INTEGER NOT NULL REFERENCES job,
    at INTEGER NOT NULL,
    source TEXT NOT NULL,
    event TEXT NOT NULL,
    target TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    detail TEXT
) STRICT;

CREATE INDEX history_job ON history (job);

-- Objects of this batch at the service that no job can use: they are only deleted.
CREATE TABLE extra (
    remote TEXT PRIMARY KEY,
    reference TEXT NOT NULL,
    seen INTEGER NOT NULL,
    not_before INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Totals for display only; the quota is counted from the jobs themselves.
CREATE TABLE tally (
    state TEXT PRIMARY KEY,
    jobs INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL
) STRICT;

CREATE TRIGGER job_counted AFTER INSERT ON job BEGIN
    INSERT INTO tally VALUES (new.state, 1, new.size, coalesce(new.duration_ms, 0))
    ON CONFLICT (state) DO UPDATE SET
        jobs = jobs + 1, bytes = bytes + excluded.bytes, duration_ms = duration_ms + excluded.duration_ms;
END;

CREATE TRIGGER job_recounted AFTER UPDATE OF state, size, duration_ms ON job BEGIN
    UPDATE tally SET
        jobs = jobs - 1, bytes = bytes - old.size, duration_ms = duration_ms - coalesce(old.duration_ms, 0)
    WHERE state = old.state;
    INSERT INTO tally VALUES (new.state, 1, new.size, coalesce(new.duration_ms, 0))
    ON CONFLICT (state) DO UPDATE SET
        jobs = jobs + 1, bytes = bytes + excluded.bytes, duration_ms = duration_ms + excluded.duration_ms;
END;
