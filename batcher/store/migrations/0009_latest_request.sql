-- The file name of the request that was carried out last: what was killed before it was removed must not be repeated.
ALTER TABLE batch ADD COLUMN latest_request TEXT NOT NULL DEFAULT '';
