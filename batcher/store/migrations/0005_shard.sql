-- Which part of the input the table holds (as 2/4); nothing is all of it.
ALTER TABLE batch ADD COLUMN shard TEXT NOT NULL DEFAULT '';
