-- What a sale is rebuilt from when Redis has lost it, and how a loss is noticed (docs/adr/0005).

ALTER TABLE sales
    -- how often it was rebuilt, attempts counted; Redis keeps the number of the one it follows
    ADD COLUMN incarnation   integer NOT NULL DEFAULT 0,
    -- why Redis is not believed any more; NULL: it is
    ADD COLUMN doubt         text,
    ADD COLUMN doubted_at    timestamptz,
    -- everything that had left Redis when the doubt arose is in these tables
    ADD COLUMN drained       boolean NOT NULL DEFAULT false,
    -- stream entries up to this millisecond that are not in these tables were lost, however late they
    -- come
    ADD COLUMN void_until_ms bigint;
CREATE INDEX sales_in_doubt ON sales (id) WHERE doubt IS NOT NULL;

-- The youngest entry of each sale's stream that order-relay has taken out of Redis, noted before it is
-- sent. Rewritten with every read, so it has room for that.
CREATE TABLE stream_positions (
    sale_id  uuid   PRIMARY KEY,
    ms       bigint NOT NULL,
    sequence bigint NOT NULL
) WITH (fillfactor = 25);

-- What makes the repetition of a purchase the same purchase.
CREATE TABLE wishes (
    order_id        uuid PRIMARY KEY,
    idempotency_key text NOT NULL,
    request_hash    text NOT NULL
);

-- Events about payments whose verdict Redis owes while its sale is in doubt. Whoever books one deletes it in
-- the same transaction.
CREATE TABLE parked_payments (
    position    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sale_id     uuid        NOT NULL,
    order_id    uuid        NOT NULL,
    id          text        NOT NULL UNIQUE,
    type        text        NOT NULL,
    source      text        NOT NULL,
    time        timestamptz NOT NULL,
    traceparent text,
    data        bytea       NOT NULL,
    parked_at   timestamptz NOT NULL DEFAULT now(),
    -- it contradicts the books: somebody has to look at it
    refused     text
);
CREATE INDEX parked_payments_by_sale ON parked_payments (sale_id);

-- What each rebuild found, and what it cannot know.
CREATE TABLE rebuilds (
    sale_id           uuid        NOT NULL REFERENCES sales,
    incarnation       integer     NOT NULL,
    reason            text        NOT NULL,
    rebuilt_at        timestamptz NOT NULL DEFAULT now(),
    orders            bigint      NOT NULL,
    parked            bigint      NOT NULL,
    -- purchases that Redis acknowledged in between and that are not in the books are unknown
    unknown_from      timestamptz NOT NULL,
    unknown_until     timestamptz NOT NULL,
    -- of those, the ones that order-relay still held and delivered afterwards
    late_reservations bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (sale_id, incarnation)
);
