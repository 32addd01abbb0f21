-- What the order service knows for good: what sellers supply, what sales were allotted, who
-- ordered what, and what must still be told to others. Redis decides first; these tables follow,
-- and their CHECK constraints are the last guard against selling more than there is.

-- SKUs as the catalog published them, fed by `products` events.
CREATE TABLE skus (
    sku         text PRIMARY KEY,
    product_id  uuid        NOT NULL,
    seller_id   uuid        NOT NULL,
    title       text        NOT NULL,
    state       text        NOT NULL CHECK (state IN ('draft', 'published', 'withdrawn')),
    price       bigint      NOT NULL CHECK (price >= 0),
    currency    text        NOT NULL,
    -- units the seller has declared so far and this service has accepted
    supplied    bigint      NOT NULL CHECK (supplied >= 0),
    -- the last declaration that would have taken away units already promised, if it is the latest
    refused_supply bigint,
    version     bigint      NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX skus_by_product ON skus (product_id);

-- Durable standing stock. A sale allocates from it; only a successful payment reduces it.
CREATE TABLE stock (
    sku       text PRIMARY KEY REFERENCES skus,
    on_hand   bigint NOT NULL CHECK (on_hand >= 0),
    allocated bigint NOT NULL DEFAULT 0,
    CONSTRAINT stock_allocated_within_on_hand CHECK (0 <= allocated AND allocated <= on_hand)
);

CREATE TABLE sales (
    id              uuid PRIMARY KEY,
    name            text        NOT NULL,
    state           text        NOT NULL
        CHECK (state IN ('loading', 'ready', 'suspended', 'closed', 'cancelled', 'closed_out')),
    currency        text        NOT NULL,
    opens_at        timestamptz NOT NULL,
    closes_at       timestamptz NOT NULL,
    payment_seconds integer     NOT NULL CHECK (payment_seconds > 0),
    -- the highest fencing number seen; a smaller one comes from an operator that was replaced
    fence           bigint      NOT NULL,
    -- whether Redis was ever read back equal to the terms; from then on Redis may not start anew
    loaded          boolean     NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL DEFAULT now(),
    closed_out_at   timestamptz,
    close_out       jsonb,
    CONSTRAINT sales_open_before_they_close CHECK (opens_at < closes_at)
);
CREATE INDEX sales_by_name ON sales (name, created_at DESC);

-- The ledger of a sale.
CREATE TABLE sale_items (
    sale_id         uuid   NOT NULL REFERENCES sales,
    sku             text   NOT NULL REFERENCES skus,
    price           bigint NOT NULL CHECK (price >= 0),
    per_buyer_limit bigint NOT NULL CHECK (per_buyer_limit > 0),
    preloaded       bigint NOT NULL,
    remaining       bigint NOT NULL,
    reserved        bigint NOT NULL DEFAULT 0,
    sold            bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (sale_id, sku),
    CONSTRAINT ledger_remaining_not_negative CHECK (remaining >= 0),
    CONSTRAINT ledger_reserved_not_negative CHECK (reserved >= 0),
    CONSTRAINT ledger_sold_not_negative CHECK (sold >= 0),
    CONSTRAINT ledger_balanced CHECK (preloaded = remaining + reserved + sold)
) WITH (fillfactor = 50); -- a hot row is rewritten on its own page

CREATE TABLE orders (
    id                  uuid PRIMARY KEY,
    sale_id             uuid        NOT NULL REFERENCES sales,
    buyer_id            uuid        NOT NULL,
    state               text        NOT NULL,
    amount              bigint      NOT NULL CHECK (amount >= 0),
    currency            text        NOT NULL,
    reserved_at         timestamptz NOT NULL,
    pay_by              timestamptz NOT NULL,
    payment_state       text        NOT NULL DEFAULT 'none',
    payment_id          uuid,
    payment_method_id   uuid,
    delivery_address_id uuid,
    payment_reason      text,
    paid_at             timestamptz,
    released_at         timestamptz,
    shipment_id         uuid,
    tracking_number     text,
    shipment_updated_at timestamptz
) WITH (fillfactor = 70);
CREATE INDEX orders_by_buyer ON orders (buyer_id, id DESC);
CREATE INDEX orders_by_sale ON orders (sale_id, id);

CREATE TABLE order_lines (
    order_id   uuid   NOT NULL REFERENCES orders ON DELETE CASCADE,
    sku        text   NOT NULL,
    quantity   bigint NOT NULL CHECK (quantity > 0),
    unit_price bigint NOT NULL CHECK (unit_price >= 0),
    PRIMARY KEY (order_id, sku)
);

-- Every transition an order made, and the event that caused it.
CREATE TABLE order_events (
    position   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id   uuid        NOT NULL,
    from_state text,
    to_state   text        NOT NULL,
    cause      text        NOT NULL,
    at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX order_events_by_order ON order_events (order_id, position);

-- Payments as the payment service told us over Kafka: the third book of the close-out.
CREATE TABLE payments_seen (
    payment_id uuid PRIMARY KEY,
    order_id   uuid        NOT NULL,
    outcome    text        NOT NULL CHECK (outcome IN ('failed', 'succeeded', 'refunded')),
    amount     bigint,
    currency   text,
    seen_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX payments_seen_by_order ON payments_seen (order_id);

-- The kit's definitions (rocketmart-kit, module outbox). Rows of the outbox live for milliseconds,
-- so it is vacuumed by count and not by share of its size.
CREATE TABLE outbox (
    position    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic       text        NOT NULL,
    key         text        NOT NULL,
    id          text        NOT NULL,
    type        text        NOT NULL,
    source      text        NOT NULL,
    time        timestamptz NOT NULL,
    traceparent text,
    data        bytea       NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE TABLE inbox (
    id          text PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT now()
);
-- Ids are forgotten by age; rows arrive in that order, so a few pages of index say where to look.
CREATE INDEX inbox_by_age ON inbox USING brin (received_at);
