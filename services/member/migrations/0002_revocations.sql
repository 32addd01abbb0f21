-- Access tokens are believed without asking here until they expire. A session that ends while one of
-- its tokens is still good is told to whoever verifies tokens (GET /internal/v1/revocations).
ALTER TABLE sessions
    -- When the last access token given out for it expires. The version before does not say; nobody
    -- lets them live for longer than a day.
    ADD COLUMN tokens_until timestamptz NOT NULL DEFAULT now() + interval '1 day';

CREATE TABLE revocations (
    position     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Transactions end in another order than they take positions: readers go by both.
    transaction  bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    session_id   uuid NOT NULL,
    tokens_until timestamptz NOT NULL
);
CREATE INDEX revocations_in_order ON revocations (transaction, position);
CREATE INDEX revocations_by_expiry ON revocations (tokens_until);

-- However a session ends: a log-out, a new password, a stolen refresh token, a deleted account.
CREATE FUNCTION revoke_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- The clock of whoever signs may be a little ahead.
    INSERT INTO revocations (session_id, tokens_until) VALUES (OLD.id, OLD.tokens_until + interval '1 minute');
    RETURN NULL;
END $$;
CREATE TRIGGER session_ended AFTER DELETE ON sessions FOR EACH ROW
    WHEN (OLD.tokens_until > now()) EXECUTE FUNCTION revoke_session();
