-- Whose password was tried, SHA-256 of the e-mail address: a new password lifts what guessing the old
-- one has locked.
ALTER TABLE attempts ADD COLUMN account bytea;
CREATE INDEX attempts_by_account ON attempts (account) WHERE account IS NOT NULL;
