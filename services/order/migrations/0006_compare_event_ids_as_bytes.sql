-- Event ids are compared as bytes: by the rules of a language (the default of the database) it takes
-- longer than the rest of their look-up.
ALTER TABLE inbox ALTER COLUMN id TYPE text COLLATE "C";
