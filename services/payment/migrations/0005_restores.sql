-- When this database was restored from a backup (docs/restore.md). What was asked for before may have been
-- charged, though nothing here says so: the provider is asked.
CREATE TABLE restores (
    at timestamptz PRIMARY KEY DEFAULT now()
);

-- Of what waits in the backup nothing is surely unsent any more. How it was to be captured is chosen when it
-- is taken up.
CREATE FUNCTION may_have_been_charged() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE payments SET state = 'processing' WHERE state = 'requested';
    RETURN NULL;
END $$;
CREATE TRIGGER restored AFTER INSERT ON restores EXECUTE FUNCTION may_have_been_charged();
