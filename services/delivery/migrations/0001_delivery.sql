CREATE TABLE addresses (
    id          uuid PRIMARY KEY,
    member_id   uuid NOT NULL,
    recipient   text NOT NULL,
    line1       text NOT NULL,
    line2       text,
    city        text NOT NULL,
    region      text,
    postal_code text NOT NULL,
    country     text NOT NULL,
    phone       text,
    is_default  boolean NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    -- A deleted address stays for the orders that chose it and are not shipped yet.
    deleted_at  timestamptz,
    CONSTRAINT deleted_is_no_default CHECK (deleted_at IS NULL OR NOT is_default)
);
CREATE UNIQUE INDEX addresses_one_default ON addresses (member_id) WHERE is_default;
CREATE INDEX addresses_of_member ON addresses (member_id, id) WHERE deleted_at IS NULL;

CREATE TABLE shipments (
    id              uuid PRIMARY KEY,
    order_id        uuid NOT NULL UNIQUE,
    buyer_id        uuid NOT NULL,
    lines           jsonb NOT NULL,
    -- As it was when the order was paid; later changes of the address do not reach it. Null: the buyer
    -- has none, and the carrier keeps the parcel for collection.
    address         jsonb,
    state           text NOT NULL CHECK (state IN ('preparing', 'shipped', 'delivered', 'cancelled')),
    tracking_number text UNIQUE,
    -- The trace of the paid order, taken up again by every step.
    traceparent     text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    shipped_at      timestamptz,
    delivered_at    timestamptz,
    cancelled_at    timestamptz,
    -- When the carrier is asked next.
    next_look_at    timestamptz,
    CONSTRAINT shipped_has_a_number CHECK ((state IN ('shipped', 'delivered')) = (tracking_number IS NOT NULL)),
    CONSTRAINT shipped_has_a_time CHECK ((state IN ('shipped', 'delivered')) = (shipped_at IS NOT NULL)),
    CONSTRAINT delivered_has_a_time CHECK ((state = 'delivered') = (delivered_at IS NOT NULL)),
    CONSTRAINT cancelled_has_a_time CHECK ((state = 'cancelled') = (cancelled_at IS NOT NULL)),
    CONSTRAINT moving_is_looked_at CHECK ((state IN ('preparing', 'shipped')) = (next_look_at IS NOT NULL))
);
CREATE INDEX shipments_moving ON shipments (next_look_at) WHERE next_look_at IS NOT NULL;
CREATE INDEX shipments_of_buyer ON shipments (buyer_id, created_at DESC, id DESC);

-- The frame every service shares: what goes out, what came in, and answers kept for repeats.
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

CREATE TABLE inbox (
    id          text PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT now()
);

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
