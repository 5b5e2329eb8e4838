-- Which attempts were made of what a job is about now: this one and later ones. A recording may change without a trace in
-- its size and time, and what the service has failed is deleted; what earlier attempts made is then of no use.
ALTER TABLE job ADD COLUMN first_attempt INTEGER NOT NULL DEFAULT 1;
-- What the service has failed before a second chance is of no use, either.
UPDATE job SET first_attempt = attempt + (state = 'waiting') WHERE forgiven OR convert;
-- What the latest attempt was made of, where a recording was found changed after that: it may only have been touched.
ALTER TABLE job ADD COLUMN earlier BLOB;
