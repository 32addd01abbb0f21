-- Members exist once their e-mail address is verified (or an administrator imported them), so "may
-- log in" needs no flag that somebody could forget to look at.
CREATE TABLE members (
    id            uuid PRIMARY KEY,
    -- lower case, ASCII: compared as it is stored
    email         text NOT NULL UNIQUE,
    name          text NOT NULL,
    roles         text[] NOT NULL CHECK (cardinality(roles) > 0 AND roles <@ ARRAY['buyer', 'seller', 'admin']),
    -- Argon2id in PHC notation; NULL: imported, a password reset sets the first one
    password_hash text,
    created_at    timestamptz NOT NULL DEFAULT now()
);

-- A sign-up waits here with the password it was made with. Each link confirms its own sign-up, so
-- somebody signing up with another's address cannot put a password under the owner's link.
CREATE TABLE sign_ups (
    id            uuid PRIMARY KEY,
    email         text NOT NULL,
    name          text NOT NULL,
    roles         text[] NOT NULL,
    password_hash text NOT NULL,
    expires_at    timestamptz NOT NULL
);
CREATE INDEX sign_ups_by_email ON sign_ups (email);
CREATE INDEX sign_ups_by_expiry ON sign_ups (expires_at);

-- Links in mails: SHA-256 of the token, never the token. A mail sent twice has two links; using
-- one removes all of the same purpose.
CREATE TABLE sign_up_tokens (
    hash       bytea PRIMARY KEY,
    sign_up_id uuid NOT NULL REFERENCES sign_ups ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);
CREATE INDEX sign_up_tokens_by_sign_up ON sign_up_tokens (sign_up_id);
CREATE INDEX sign_up_tokens_by_expiry ON sign_up_tokens (expires_at);

CREATE TABLE password_reset_tokens (
    hash       bytea PRIMARY KEY,
    member_id  uuid NOT NULL REFERENCES members ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);
CREATE INDEX password_reset_tokens_by_member ON password_reset_tokens (member_id);
CREATE INDEX password_reset_tokens_by_expiry ON password_reset_tokens (expires_at);

-- A session is a family of refresh tokens; ending it is deleting it.
CREATE TABLE sessions (
    id         uuid PRIMARY KEY,
    member_id  uuid NOT NULL REFERENCES members ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_by_member ON sessions (member_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- Replaced tokens stay until they expire: presenting one again is how theft is noticed.
CREATE TABLE refresh_tokens (
    hash        bytea PRIMARY KEY,
    session_id  uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    parent      bytea REFERENCES refresh_tokens ON DELETE SET NULL,
    expires_at  timestamptz NOT NULL,
    replaced_at timestamptz
);
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_by_parent ON refresh_tokens (parent);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at);

-- How often something was tried within a fixed window. Subjects are SHA-256 of an e-mail or
-- network address: the table tells nobody who tried.
CREATE TABLE attempts (
    scope     text NOT NULL,
    subject   bytea NOT NULL,
    count     integer NOT NULL,
    resets_at timestamptz NOT NULL,
    PRIMARY KEY (scope, subject)
);
CREATE INDEX attempts_by_reset ON attempts (resets_at);

-- Mails to be sent, without their text: a link's token is made when the mail is sent, so that no
-- usable link is ever stored. A mail goes with what it is about.
CREATE TABLE mail_outbox (
    id              uuid PRIMARY KEY,
    kind            text NOT NULL,
    recipient       text NOT NULL,
    sign_up_id      uuid REFERENCES sign_ups ON DELETE CASCADE,
    member_id       uuid REFERENCES members ON DELETE CASCADE,
    attempts        integer NOT NULL DEFAULT 0,
    last_error      text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    next_attempt_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX mail_outbox_due ON mail_outbox (next_attempt_at);
CREATE INDEX mail_outbox_by_sign_up ON mail_outbox (sign_up_id);
CREATE INDEX mail_outbox_by_member ON mail_outbox (member_id);
