-- Which attempts were made of what a job is about now: this one and later ones. A recording may change without a trace in
-- its size and time, and what the service has failed is deleted; what earlier attempts made is then of no use.
ALTER TABLE job ADD COLUMN first_attempt INTEGER NOT NULL DEFAULT 1;
