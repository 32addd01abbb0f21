-- What was sent is kept in the outbox until its readers have it: rows before this were sent (rocketmart-kit, module
-- outbox).
CREATE TABLE outbox_sent (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    before bigint  NOT NULL
) WITH (fillfactor = 25);
INSERT INTO outbox_sent (before) VALUES (0);
