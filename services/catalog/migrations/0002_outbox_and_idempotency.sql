-- Events that wait to be published (rocketmart_kit::outbox), and stored answers to repeated
-- requests (rocketmart_kit::idempotency).

CREATE TABLE outbox (
    position    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic       text NOT NULL,
    key         text NOT NULL,
    id          text NOT NULL,
    type        text NOT NULL,
    source      text NOT NULL,
    time        timestamptz NOT NULL,
    traceparent text,
    data        bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE TABLE idempotency (
    owner        uuid NOT NULL,
    route        text NOT NULL,
    key          text NOT NULL,
    request_hash bytea NOT NULL,
    status       smallint NOT NULL,
    headers      jsonb NOT NULL,
    body         bytea NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, route, key)
);
