-- What a replaced token's successor follows from, together with the token itself: presented again
-- within the grace, it is answered with the same one. The version before leaves it empty and gives
-- each repetition a successor of its own.
ALTER TABLE refresh_tokens ADD COLUMN successor_salt bytea;
